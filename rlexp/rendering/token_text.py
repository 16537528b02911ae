"""Token sequences as people read them: what is learnt marked, special tokens seen, text as text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text as RichText

LINE_END = "⏎"
INDENT = "  "
BAR = "█"
BAR_WIDTH, BUCKETS = 32, 6


@dataclass(frozen=True)
class TokenRun:
    """Neighbouring tokens of one sort.

    Attributes:
        text: what they say.
        learnt: whether the loss looks at them.
        special: whether they are the model's own, and no text.
    """

    text: str
    learnt: bool
    special: bool


def token_text(runs: Sequence[TokenRun], *, coloured: bool) -> RichText:
    """Return token runs for a terminal: what is learnt is green, or else stands in brackets.

    Args:
        runs: in their order.
        coloured: whether colours can be seen.
    """
    shown = RichText(INDENT)
    learnt = False
    for place, run in enumerate(runs, start=1):
        if run.learnt != learnt and not coloured:
            shown.append("[" if run.learnt else "]")
        learnt = run.learnt
        style = " ".join(
            word
            for word, meant in (("green", learnt), ("dim", not learnt), ("bold", run.special))
            if meant
        )
        text = visible(run.text)
        text = text.removesuffix("\n") if place == len(runs) else text
        shown.append(text.replace("\n", f"\n{INDENT}"), style=style if coloured else "")
    if learnt and not coloured:
        shown.append("]")
    return shown


def visible(text: str) -> str:
    r"""Return a text that does nothing but show itself: line ends as ⏎, controls escaped.

    >>> visible("a\x1b[2J")
    'a\\x1b[2J'
    """
    return "".join(
        f"{LINE_END}\n" if character == "\n" else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    if not unicodedata.category(character).startswith("C"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def histogram(values: Sequence[int]) -> list[str]:
    """Return a histogram in text, one line a bucket; nothing of no values.

    >>> histogram([1, 1, 2])
    ['        1  ████████████████████████████████ 2', '        2  ████████████████ 1']
    """
    if not values:
        return []
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // BUCKETS))
    counts = [0] * ((high - low) // width + 1)
    for value in values:
        counts[(value - low) // width] += 1
    return [
        f"{_bucket(low + place * width, width):>9}  {_bar(count, max(counts))} {count}".rstrip()
        for place, count in enumerate(counts)
    ]


def _bucket(start: int, width: int) -> str:
    return str(start) if width == 1 else f"{start}–{start + width - 1}"


def _bar(count: int, most: int) -> str:
    return BAR * (max(1, round(BAR_WIDTH * count / most)) if count else 0)
