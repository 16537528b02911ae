"""How sure the card is of itself, in the words of people: changes, the control, the yardstick."""

from __future__ import annotations

from rlexp.cards.card import Card
from rlexp.evaluation.best_of_n.frontier import format_frontier
from rlexp.evaluation.changes import Change
from rlexp.evaluation.slices import Slice
from rlexp.rendering.numbers import number, share


def format_signed(value: float | None) -> str:
    """A difference.

    >>> format_signed(0.9412), format_signed(-12.34), format_signed(None)
    ('+0.941', '-12.3', '–')
    """
    return number(value) if value is None or value < 0 else f"+{number(value)}"


def format_change_interval(change: Change) -> str:
    """The interval of a change, with signs, or nothing."""
    if change.low is None or change.high is None:
        return ""
    return f"[{format_signed(change.low)}, {format_signed(change.high)}]"


def format_change(change: Change | None) -> str:
    """The interval of a change, and in a word what it says; nothing where there is none."""
    return f"{format_change_interval(change)} {change.direction}".strip() if change else ""


def format_certainty(card: Card) -> list[str]:
    """What the control and best-of-n say; none where they were not measured."""
    found = []
    if card.frontier is not None:
        found.append(format_frontier(card.frontier))
    if (control := card.control) is not None:
        ends, fair = "", True
        if control.low is not None and control.high is not None:
            ends = f" (95% interval {share(control.low)} to {share(control.high)})"
            fair = control.low <= 0.5 <= control.high
        verdict = "as it should: 50%" if fair else "where 50% is to be expected: chance, or a fault"
        found.append(
            "Control: a second sample of the model before training wins "
            f"{share(control.rate)} against the first{ends}, {verdict}."
        )
    return found


def slice_row(found: Slice) -> tuple[str, str, str, str, str]:
    """Kind of prompts, their number, reward before and after, and the change."""
    return (
        found.value,
        str(found.prompts),
        number(found.before),
        number(found.after),
        format_change(found.change),
    )
