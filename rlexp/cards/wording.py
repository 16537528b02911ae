"""How sure the card is of itself, in the words of people: changes, the control, the yardstick."""

from __future__ import annotations

from rlexp.cards.card import Card
from rlexp.evaluation.best_of_n.frontier import format_frontier
from rlexp.evaluation.changes import Change
from rlexp.evaluation.slices import Slice
from rlexp.rendering.numbers import number, share


def format_signed(value: float | None) -> str:
    """Return a difference with its sign.

    >>> format_signed(0.9412), format_signed(-12.34), format_signed(None)
    ('+0.941', '-12.3', '–')
    """
    return number(value) if value is None or value < 0 else f"+{number(value)}"


def format_change_interval(change: Change) -> str:
    """Return the interval of a change, with signs, or nothing."""
    if change.low is None or change.high is None:
        return ""
    return f"[{format_signed(change.low)}, {format_signed(change.high)}]"


def format_change(change: Change | None) -> str:
    """Return the interval of a change, and in a word what it says; nothing without a change."""
    return f"{format_change_interval(change)} {change.direction}".strip() if change else ""


def format_certainty(card: Card) -> list[str]:
    """Return what best-of-n and the control say; none where they were not measured."""
    sentences = []
    if card.frontier is not None:
        sentences.append(format_frontier(card.frontier))
    if (control := card.control) is not None:
        ends, fair = "", True
        if control.low is not None and control.high is not None:
            ends = f" (95% interval {share(control.low)} to {share(control.high)})"
            fair = control.low <= 0.5 <= control.high
        verdict = "as it should: 50%" if fair else "where 50% is to be expected: chance, or a fault"
        sentences.append(
            "Control: a second sample of the model before training wins "
            f"{share(control.rate)} against the first{ends}, {verdict}."
        )
    return sentences


def slice_row(part: Slice) -> tuple[str, str, str, str, str]:
    """Return kind of prompts, their number, reward before and after, and the change."""
    return (
        part.value,
        str(part.prompts),
        number(part.before),
        number(part.after),
        format_change(part.change),
    )
