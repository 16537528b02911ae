"""The card as a page: one self-contained file that opens anywhere, offline, on a phone as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlexp.cards import labels
from rlexp.cards.card import Card
from rlexp.cards.labels import MetricRow
from rlexp.cards.plots import History, curves, frontier_plot, reward_histogram
from rlexp.evaluation.metrics import find_metric
from rlexp.evaluation.results import Evaluation
from rlexp.rendering import html
from rlexp.rendering.numbers import duration, interval, memory, number

UNITS = {"_seconds": duration, "_mib": memory, "": number}
"""How a cost is shown, by the end of its name."""


@dataclass(frozen=True)
class Bar:
    """Where values stand on a metric's bar, in percent of its width; None where not known."""

    zero: float | None
    before: float | None
    after: float | None
    low: float | None
    high: float | None


def write_card_page(
    card: Card,
    path: Path,
    history: History = (),
    config: str = "",
    *,
    before: Evaluation | None = None,
    after: Evaluation | None = None,
) -> None:
    """Write `card.html`, with the metrics by optimizer step as curves, the composed config as yaml,
    and the rewards of both evaluations as a histogram.
    """
    histogram = reward_histogram(_rewards(before), _rewards(after))
    yardstick = frontier_plot(card.frontier) if card.frontier else None
    plots = [*curves(history), *(plot for plot in (histogram, yardstick) if plot)]
    html.write(
        path,
        "rlexp.cards",
        "card.html",
        card=card,
        headline=labels.card_headline(card),
        rows=[(row, interval(row.low, row.high), bar(row)) for row in labels.metric_rows(card)],
        verdicts=labels.format_verdicts(card),
        changes={
            metric: (labels.format_signed(change.difference), labels.format_change(change))
            for metric, change in card.changes.items()
        },
        slices=[(part.by, *labels.slice_row(part)) for part in card.slices],
        plots=plots,
        cost=labels.cost_line(card),
        phases=_phases(card),
        config=config,
    )


def bar(row: MetricRow) -> Bar:
    """Place a metric's values: shares from 0 to 1, anything else spans 0 and all of its values."""
    known = [value for value in (row.before, row.after, row.low, row.high) if value is not None]
    low = min([0.0, *known])
    high = max([1.0 if find_metric(row.metric).format == "share" else 0.0, *known])
    width = high - low

    def place(value: float | None) -> float | None:
        return None if value is None or width == 0 else round(100 * (value - low) / width, 2)

    return Bar(place(0.0), *map(place, (row.before, row.after, row.low, row.high)))


def _rewards(evaluation: Evaluation | None) -> list[float]:
    samples = evaluation.samples if evaluation else []
    return [sample.reward for sample in samples if sample.reward is not None]


def _phases(card: Card) -> list[tuple[str, str]]:
    """Return what each phase took, named as people say it."""
    phases = []
    for name, value in card.cost.items():
        suffix, text = next(
            (suffix, shown) for suffix, shown in UNITS.items() if name.endswith(suffix)
        )
        phases.append((name.removesuffix(suffix).replace("_", " "), text(value)))
    return phases
