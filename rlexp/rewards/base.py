"""From what a policy wrote to the text and the words that a reward judges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rlexp.spec.reward import Message, Text

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
"""Characters of scripts that put no spaces between words, as a regular expression's ranges: Thai,
Lao, Burmese, Khmer, kana and Chinese characters."""

_LETTER = rf"[^\W_{UNSPACED}]"
_WORD = re.compile(rf"[{UNSPACED}]|{_LETTER}+(?:['’-]{_LETTER}+)*")
_JOINS_WITHOUT_SPACE = re.compile(rf"\s|[^\w\s]|[{UNSPACED}]")


def words_of(text: str) -> list[str]:
    """The words of a text, punctuation left out.

    A character of a script without spaces counts as a word.

    >>> words_of("It's well-made, 很好!")
    ["It's", 'well-made', '很', '好']
    """
    return _WORD.findall(text)


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
    return [_joined(opening or "", text) for opening, text in zip(openings, texts, strict=True)]


def _text(completion: Text) -> str:
    if isinstance(completion, str):
        return completion
    turns = [message for message in completion if message.get("role") == "assistant"]
    return _content(turns[-1]) if turns else ""


def _content(message: Message) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


def _joined(opening: str, text: str) -> str:
    touches = opening and text and not opening[-1].isspace()
    return (
        f"{opening} {text}" if touches and not _JOINS_WITHOUT_SPACE.match(text) else opening + text
    )
