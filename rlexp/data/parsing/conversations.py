"""Dialogues as lists of messages, and what two answers to the same dialogue share."""

from __future__ import annotations

import re

from rlexp.spec.reward import Message, Text

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


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
    return prompt if answered and prompt and prompt == other[:-1] else None


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


def plain_text(text: Text) -> str:
    """Return a string as it is, and the contents of messages as one paragraph a turn."""
    return text if isinstance(text, str) else "\n\n".join(turn["content"] for turn in text)
