"""Dialogues as lists of messages, and what two answers to the same dialogue share."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from rlexp.spec.reward import Message, Text

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_ANSWERS = ("completion", "chosen", "rejected")
_NO_GREETING = 16
"""Characters of a prompt from which an answer that begins with it repeats it, and does not greet
back."""


def is_dialogue(value: object) -> bool:
    """Return whether it is a text that `parse_dialogue` takes."""
    return isinstance(value, str) and _TURN.match(value) is not None


def parse_dialogue(text: str) -> list[Message]:
    r"""Return the messages of a dialogue whose turns begin with `\n\nHuman:` and `\n\nAssistant:`.

    This is the raw form of Anthropic's HH-RLHF (Bai et al. 2022, arXiv:2204.05862).

    Raises:
        ValueError: the text does not begin with a turn.
    """
    before, *turns = _TURN.split(text)
    if before.strip() or not turns:
        raise ValueError("no turn at the beginning")
    speakers, contents = turns[::2], turns[1::2]
    return [
        {"role": _ROLES[speaker], "content": content.strip()}
        for speaker, content in zip(speakers, contents, strict=True)
    ]


def assistant_turn(text: str) -> list[Message]:
    """Return an answer as a conversation's next message."""
    return [{"role": "assistant", "content": text}]


def shared_prompt(one: list[Message], other: list[Message]) -> list[Message] | None:
    """Return what precedes both last turns; None where it differs or these are no answers."""
    answered = all(turns and turns[-1]["role"] == "assistant" for turns in (one, other))
    prompt = one[:-1]
    same = stripped(prompt) == stripped(other[:-1])
    return prompt if answered and prompt and same else None


def align_formats(prompt: Text, *answers: Text) -> tuple[Text, ...]:
    """Return prompt and answers as all strings or all messages; a repeated prompt is cut off."""
    if all(isinstance(text, str) for text in (prompt, *answers)):
        return prompt, *answers
    history = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return history, *(_turns_after(history, answer) for answer in answers)


def _turns_after(history: list[Message], answer: Text) -> list[Message]:
    turns = assistant_turn(answer) if isinstance(answer, str) else answer
    repeats = len(turns) > len(history) and turns[: len(history)] == history
    return turns[len(history) :] if repeats else turns


def without_repeated_prompts(
    rows: list[tuple[str, dict[str, Any]]], remarks: Counter[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return rows, each with its place, whose answers no longer begin with their prompt.

    Where most rows do that it is the file's way of writing answers. Where few do, it has to be
    a text and no greeting: "Hi" may well be answered by "Hi, what is it?".

    Args:
        rows: places with rows in canonical columns.
        remarks: where answers that lost their prompt are counted.
    """
    repeating = [_repeating(row) for _, row in rows]
    usual = 2 * sum(map(bool, repeating)) > len(rows) > 1
    cleaned = []
    for (place, row), answers in zip(rows, repeating, strict=True):
        prompt = row["prompt"]
        alone = isinstance(prompt, str) and len(prompt.strip()) >= _NO_GREETING
        if answers and (usual or alone):
            remarks["answers that began with their prompt, which was taken off"] += len(answers)
            row = {**row, **answers}
        cleaned.append((place, row))
    return cleaned


def _repeating(row: dict[str, Any]) -> dict[str, Text]:
    """Return the answers that repeat the prompt, without it."""
    if "opening" in row:
        return {}
    opening = _last_words(row["prompt"]).strip()
    shorter: dict[str, Text] = {}
    for name in _ANSWERS:
        answer: Text = row.get(name, "")
        words = _last_words(answer).lstrip() if answer else ""
        rest = words.removeprefix(opening)
        cut = opening and rest != words and rest.strip()
        if cut and not (opening[-1].isalnum() and rest[0].isalnum()):
            shorter[name] = rest if isinstance(answer, str) else _with_words(answer, rest)
    return shorter


def _last_words(text: Text) -> str:
    return text if isinstance(text, str) else text[-1]["content"]


def _with_words(turns: list[Message], words: str) -> list[Message]:
    return [*turns[:-1], {**turns[-1], "content": words.strip()}]


def stripped(text: Text) -> Text:
    """Return a text, or each turn's, without the space around it."""
    if isinstance(text, str):
        return text.strip()
    return [{**turn, "content": turn["content"].strip()} for turn in text]


def plain_text(text: Text) -> str:
    """Return a string as it is, and the contents of messages as one paragraph a turn."""
    return text if isinstance(text, str) else "\n\n".join(turn["content"] for turn in text)
