"""Dialogues as lists of messages, and what two answers to the same dialogue share."""

from __future__ import annotations

import re

from rlexp.spec.reward import Message, Text

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_raw(value: object) -> bool:
    """Whether it is a text that `parse` takes."""
    return isinstance(value, str) and _TURN.match(value) is not None


def parse(text: str) -> list[Message]:
    r"""The messages of a dialogue whose turns begin with `\n\nHuman:` and `\n\nAssistant:`.

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
    """An answer as a conversation's next message."""
    return [{"role": "assistant", "content": text}]


def shared_prompt(one: list[Message], other: list[Message]) -> list[Message] | None:
    """What stands before the last turn of both; None where they part earlier or are no answers."""
    answered = all(turns and turns[-1]["role"] == "assistant" for turns in (one, other))
    prompt = one[:-1]
    return prompt if answered and prompt and prompt == other[:-1] else None


def aligned(prompt: Text, *answers: Text) -> tuple[Text, ...]:
    """Prompt and answers, all strings or all messages; answers that repeat the prompt lose it."""
    if all(isinstance(text, str) for text in (prompt, *answers)):
        return prompt, *answers
    said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return said, *(_continuing(said, answer) for answer in answers)


def _continuing(said: list[Message], answer: Text) -> list[Message]:
    turns = assistant_turn(answer) if isinstance(answer, str) else answer
    repeats = len(turns) > len(said) and turns[: len(said)] == said
    return turns[len(said) :] if repeats else turns


def plain_text(text: Text) -> str:
    """A string as it is; of messages what was said, one paragraph a turn."""
    return text if isinstance(text, str) else "\n\n".join(turn["content"] for turn in text)
