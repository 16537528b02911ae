"""What a card says, in the words of people, on the terminal and on the page alike."""

from __future__ import annotations

from dataclasses import dataclass

from rlexp.cards.card import Card
from rlexp.evaluation.best_of_n.frontier import format_frontier
from rlexp.evaluation.changes import Change
from rlexp.evaluation.metrics import find_metric, in_card_order, source_metric, without_lone_term
from rlexp.evaluation.slices import Slice
from rlexp.rendering.numbers import duration, memory, number, share, short


@dataclass(frozen=True)
class MetricRow:
    """One metric before and after; None where it was not measured or is not finite."""

    metric: str
    label: str
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    change: Change | None = None
    """After minus before, where both are of the same prompts."""


def metric_rows(card: Card) -> list[MetricRow]:
    """Return the card's metrics in order; a reward that is its own only term is shown once, and the
    rewards of a mix's sources stand among the slices."""
    sides = card.before, card.after
    rows = []
    for name in in_card_order(without_lone_term({**card.before, **card.after}, sides)):
        if name.startswith(source_metric("reward", "")):
            continue
        before, after = card.before.get(name), card.after.get(name)
        low, high = card.intervals.get(name, [None, None])
        label, change = find_metric(name).label, card.changes.get(name)
        rows.append(MetricRow(name, label, before, after, low, high, change))
    return rows


def cost_line(card: Card) -> str:
    """Return what the run took, in one line."""
    trained = [f"training {duration(card.train_seconds)}"] if card.train_seconds else []
    parts = [*trained, f"total {duration(card.total_seconds)}"]
    if card.tokens_per_second is not None:
        parts.append(f"{card.tokens_per_second:,.0f} tokens/s")
    parts.append(f"peak {memory(card.peak_memory_mib)}")
    if "gpu_memory_mib" in card.cost:
        parts.append(f"GPU {memory(card.cost['gpu_memory_mib'])}")
    return ", ".join(parts)


def card_headline(card: Card) -> str:
    """Return the result in a few words."""
    before, after = card.before.get("reward"), card.after.get("reward")
    if not card.after:
        return f"{card.status.lower()}: no evaluation after training"
    if "accuracy" in card.after:
        sides = [card.before, card.after] if card.before else [card.after]
        ends = " → ".join(number(side.get("accuracy")) for side in sides)
        return f"pairs in the right order {ends}"
    if after is not None and not card.before:
        return f"reward {short(after)}"
    if before is None or after is None:
        ends = (number(side.get("perplexity")) for side in (card.before, card.after))
        return f"perplexity {' → '.join(ends)}"
    return f"reward {short(before)} → {short(after)}"


def format_verdicts(card: Card) -> list[str]:
    """Return a sentence each on what was measured: win rates, forgetting, how sure it is."""
    sentences = []
    if card.win_rate is not None:
        better = f"Wins by reward {share(card.win_rate)} of pairs with what it wrote before"
        ties = f"; {share(card.ties)} of them are ties, which count half" if card.ties else ""
        sentences.append(f"{better}{_share_interval(card, 'win_rate')}{ties}.")
    if (judge_rate := card.after.get("judge_win_rate")) is not None:
        ends = _share_interval(card, "judge_win_rate")
        sentences.append(f"Win rate by judge {share(judge_rate)}, asked in both orders{ends}.")
    old, new = card.before.get("perplexity"), card.after.get("perplexity")
    if old and new:
        sentences.append(
            f"Forgetting: perplexity of held-out texts {number(old)} → {number(new)} "
            f"({new / old - 1:+.1%})."
        )
    return sentences + format_certainty(card)


def _share_interval(card: Card, name: str) -> str:
    return _in_brackets(*card.intervals.get(name, [None, None]))


def _in_brackets(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f" (95% interval {share(low)} to {share(high)})"


def format_signed(value: float | None) -> str:
    """Return a difference with its sign.

    >>> format_signed(0.9412), format_signed(-12.34), format_signed(None)
    ('+0.941', '-12.3', '–')
    """
    return number(value) if value is None or value < 0 else f"+{number(value)}"


def format_change(change: Change | None) -> str:
    """Return the interval of a change, and in a word what it says; nothing without a change."""
    if change is None or change.low is None or change.high is None:
        return change.direction if change else ""
    return f"[{format_signed(change.low)}, {format_signed(change.high)}] {change.direction}"


def format_certainty(card: Card) -> list[str]:
    """Return what best-of-n and the control say; none where they were not measured."""
    sentences = []
    if card.frontier is not None:
        sentences.append(format_frontier(card.frontier))
    if (control := card.control) is not None:
        low, high = control.low, control.high
        fair = low is None or high is None or low <= 0.5 <= high
        verdict = "as it should: 50%" if fair else "where 50% is to be expected: chance, or a fault"
        sentences.append(
            "Control: a second sample of the model before training wins "
            f"{share(control.rate)} against the first{_in_brackets(low, high)}, {verdict}."
        )
    return sentences


def slice_row(part: Slice) -> tuple[str, str, str, str, str]:
    """Return kind of prompts, their number, reward before and after, and the change."""
    means = number(part.before), number(part.after)
    return part.value, str(part.prompts), *means, format_change(part.change)
