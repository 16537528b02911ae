"""The card as a page: one self-contained file that opens anywhere, offline, on a phone as well."""

from __future__ import annotations

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


def write_card_page(
    card: Card,
    path: Path,
    history: History = (),
    config: str = "",
    *,
    before: Evaluation | None = None,
    after: Evaluation | None = None,
) -> None:
    """Write `card.html`; `history` are metrics by optimizer step, for the curves."""
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


def bar(row: MetricRow) -> dict[str, float | None]:
    """Return where zero and a metric's values stand on its bar, in percent of its width, if known.

    A share's bar runs from 0 to 1; any other spans 0 and all of its values.
    """
    values = {name: getattr(row, name) for name in ("before", "after", "low", "high")}
    known = [value for value in values.values() if value is not None]
    low = min([0.0, *known])
    high = max([1.0 if find_metric(row.metric).format == "share" else 0.0, *known])
    width = high - low

    def place(value: float | None) -> float | None:
        return None if value is None or width == 0 else round(100 * (value - low) / width, 2)

    return {name: place(value) for name, value in {"zero": 0.0, **values}.items()}


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
