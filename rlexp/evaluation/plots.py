"""Plots of the card's page: SVG text to stand inside HTML, the same bits for the same numbers.

Colours are left to the page: each is drawn as a stand-in that becomes a CSS variable, so that one
plot serves a light and a dark page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[tuple[int, dict[str, float]]]
"""Optimizer step and the metrics logged at it."""

CURVES = {
    "reward": "reward",
    "kl": "KL to the reference",
    "length": "length, tokens",
    "loss": "training loss",
}
SIZE = (4.0, 2.3)  # inches
BINS = 24
TICKS = 6

INK, MUTED, BEFORE, AFTER = "#010203", "#010204", "#010205", "#010206"
VARIABLES = {INK: "--ink", MUTED: "--muted", BEFORE: "--before", AFTER: "--after"}
LINES = (AFTER, BEFORE, INK)

STYLE: Any = {
    "svg.hashsalt": "rlexp",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A drawing, and its title for the caption and for those who cannot see it."""

    title: str
    svg: str


def curves(history: History) -> list[Plot]:
    """Reward, KL, length and loss by step: those of which two points or more are there.

    Series are told by the last part of their name: `rollout/reward` and `eval/reward` share a plot.
    """
    plots = []
    for metric, title in CURVES.items():
        series = _series(history, metric)
        if series:
            plots.append(_draw(title, lambda axes, series=series: _lines(axes, series)))
    return plots


def reward_histogram(before: Sequence[float], after: Sequence[float]) -> Plot | None:
    """How the samples' rewards are distributed before and after; None without rewards."""
    old, new = ([each for each in some if math.isfinite(each)] for some in (before, after))
    if not old and not new:
        return None
    low, high = min(old + new), max(old + new)
    if low == high:
        low, high = low - 0.5, high + 0.5

    def bars(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for values, colour, label in ((old, BEFORE, "before"), (new, AFTER, "after")):
            if values:
                axes.hist(
                    values, bins=BINS, range=(low, high), color=colour, alpha=0.65, label=label
                )
        axes.set_xlabel("reward of a sample")
        axes.xaxis.set_major_locator(MaxNLocator(TICKS))
        axes.set_ylabel("samples")
        axes.legend(fontsize=8)

    return _draw("rewards of the samples", bars)


def _series(history: History, metric: str) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for step, metrics in history:
        for name, value in metrics.items():
            if name.rpartition("/")[2] == metric and math.isfinite(value):
                series.setdefault(name, []).append((step, value))
    return {name: points for name, points in series.items() if len(points) > 1}


def _lines(axes: Axes, series: dict[str, list[tuple[int, float]]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for index, (name, points) in enumerate(series.items()):
        few = len(points) <= BINS
        axes.plot(
            *zip(*points, strict=True),
            color=LINES[index % len(LINES)],
            linewidth=1.6,
            marker="o" if few else None,
            markersize=3,
            label=name,
        )
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
    if len(series) > 1:
        axes.legend(fontsize=8)


def _draw(title: str, fill: Any) -> Plot:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        fill(axes)
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return Plot(title, _for_html(drawn.getvalue()))


def _for_html(svg: str) -> str:
    """Without what HTML does not want: prologue, namespaces, metadata, group names, fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*" ?', r"<svg \1", svg)
    svg = re.sub(r'^<svg ([^>]*?)height="[^"]*" ?', r"<svg \1", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
