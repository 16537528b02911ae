"""From what a policy wrote to the text and the words that a reward judges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.text import UNSPACED, Text, content_of, joined

_LETTER = rf"[^\W_{UNSPACED}]"
_WORD = re.compile(rf"[{UNSPACED}]|{_LETTER}+(?:['’-]{_LETTER}+)*")


def words_of(text: str) -> list[str]:
    """The words of a text, punctuation left out.

    A character of a script without spaces counts as a word.

    >>> words_of("It's well-made, 很好!")
    ["It's", 'well-made', '很', '好']
    """
    return _WORD.findall(text)


def column_of(columns: Mapping[str, list[Any]], name: str) -> list[Any]:
    """The column of the data that `reward.column` names.

    Raises:
        UserError: the data lacks it.
    """
    if name not in columns:
        has = ", ".join(sorted(columns)) or "it has no extra ones"
        raise UserError(Problem("reward.column", name, f"a column of the data ({has})"))
    return columns[name]


def texts_of(
    completions: Sequence[Text], openings: Iterable[str | None] | None = None
) -> list[str]:
    """The text of each completion; with `openings`, of the whole that it completes.

    Of a list of messages it is the assistant's last turn, empty where there is none. A space goes
    between opening and completion only where two words would otherwise run together.

    Raises:
        ValueError: there are not as many openings as completions.

    >>> texts_of([" was fun.", "fun."], openings=["The plot", "It was"])
    ['The plot was fun.', 'It was fun.']
    """
    texts = [_text(completion) for completion in completions]
    if openings is None:
        return texts
    return [joined(opening or "", text) for opening, text in zip(openings, texts, strict=True)]


def _text(completion: Text) -> str:
    if isinstance(completion, str):
        return completion
    turns = [message for message in completion if message.get("role") == "assistant"]
    return content_of(turns[-1]) if turns else ""
