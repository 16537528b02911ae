"""Plots of the card's page: curves of the training, and the rewards before and after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rlexp.evaluation.best_of_n.frontier import Frontier
from rlexp.rendering.svg import INK, TICKS, Plot, draw_svg

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
BINS = 24

BEFORE, AFTER = "#010205", "#010206"
COLOURS = {BEFORE: "--before", AFTER: "--after"}
LINES = (AFTER, BEFORE, INK)


def curves(history: History) -> list[Plot]:
    """Plot reward, KL, length and loss by step: those that have two points or more.

    Series are told by the last part of their name: `rollout/reward` and `eval/reward` share a plot.
    """
    plots = []
    for metric, title in CURVES.items():
        if series := _series(history, metric):
            plots.append(draw_svg(title, partial(_lines, series=series), COLOURS))
    return plots


def reward_histogram(before: Sequence[float], after: Sequence[float]) -> Plot | None:
    """Plot how the samples' rewards are distributed before and after; None without rewards."""
    old, new = (list(filter(math.isfinite, rewards)) for rewards in (before, after))
    if not old and not new:
        return None
    low, high = min(old + new), max(old + new)
    if low == high:
        low, high = low - 0.5, high + 0.5

    def bars(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        look = {"bins": BINS, "range": (low, high), "alpha": 0.65}
        for values, colour, label in ((old, BEFORE, "before"), (new, AFTER, "after")):
            if values:
                axes.hist(values, color=colour, label=label, **look)
        axes.set(xlabel="reward of a sample", ylabel="samples")
        axes.xaxis.set_major_locator(MaxNLocator(TICKS))
        axes.legend(fontsize=8)

    return draw_svg("rewards of the samples", bars, COLOURS)


def frontier_plot(frontier: Frontier) -> Plot:
    """Plot reward over the square root of KL, along which Gao et al. 2022 find it smooth."""

    def fill(axes: Axes) -> None:
        baseline = frontier.best_of
        roots = [math.sqrt(result.kl) for result in baseline]
        axes.plot(roots, [result.reward for result in baseline], color=BEFORE, linewidth=1.6)
        points = list(zip(roots, baseline, strict=True))
        band = [(root, b.low, b.high) for root, b in points if None not in (b.low, b.high)]
        if band:
            at, low, high = zip(*band, strict=True)
            axes.fill_between(at, low, high, color=BEFORE, alpha=0.25, linewidth=0)
        for root, result in points:
            below = {"textcoords": "offset points", "xytext": (0, -10), "ha": "center"}
            axes.annotate(f"{result.n}", (root, result.reward), fontsize=7, **below)
        axes.plot(roots, [result.reward for result in baseline], "o", color=BEFORE, markersize=3)
        axes.plot([], [], "o-", color=BEFORE, markersize=3, label="best of n (KL at most)")
        run = [(math.sqrt(max(point.kl, 0.0)), point.reward) for point in frontier.run]
        look = {"color": AFTER, "linewidth": 1.2, "markersize": 4}
        axes.plot(*zip(*run, strict=True), "s-", label="the run", **look)
        axes.set(xlabel="√KL, nats an answer", ylabel="reward")
        axes.legend(fontsize=8)

    return draw_svg("reward against KL", fill, COLOURS)


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
        look = {"color": LINES[index % len(LINES)], "linewidth": 1.6, "markersize": 3}
        marker = "o" if len(points) <= BINS else None
        axes.plot(*zip(*points, strict=True), marker=marker, label=name, **look)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
    if len(series) > 1:
        axes.legend(fontsize=8)
