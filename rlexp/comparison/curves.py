"""Curves of several runs over each other, those that matter first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlexp.comparison.run_data import Points, Run, letter
from rlexp.rendering.svg import TICKS, Plot, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST = (
    "rollout/reward",
    "eval/reward",
    "eval/accuracy",
    "train/loss",
    "eval/kl",
    "rollout/kl",
    "eval/grammatical",
    "rollout/length",
    "rollout/entropy",
    "train/reward_accuracy",
    "train/token_accuracy",
    "train/accuracy",
    "eval/length",
    "eval/perplexity",
)
SHOWN = 6
MOST_POINTS = 300
COLOURS = 8
STYLES = ("solid", (0, (4, 1.5)), (0, (1, 1)))
"""One for each time that the colours are used up."""
MARKED = 12
"""Points of a curve up to which each of them is marked."""
LEGEND = 8

_STAND_INS = {f"#0107{index:02d}": f"--run-{index}" for index in range(COLOURS)}


def curve_names(runs: Sequence[Run], wanted: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Return which metrics have a curve: the few that matter, and all others by name.

    A curve has two finite points or more; those that are `wanted` go first. The losses of two
    algorithms have nothing in common, and do not matter.
    """
    counts = Counter(
        name
        for run in runs
        for name, points in run.curves.items()
        if len(finite_points(points)) > 1
    )
    alike = len({run.algo for run in runs}) == 1
    several = [name for name in FIRST if counts[name] > 1 and (alike or name != "train/loss")]
    asked = [name for name in wanted if name in counts]
    first = list(dict.fromkeys([*asked, *several]))[: max(SHOWN, len(wanted))]
    return first, sorted(counts.keys() - first)


def finite_points(points: Points) -> Points:
    """Leave out points whose value is not finite."""
    return [(step, value) for step, value in points if math.isfinite(value)]


def thin_points(points: Points, most: int = MOST_POINTS) -> Points:
    """Return at most so many finite points, each the mean of neighbours at their mean step.

    >>> thin_points([(0, 1.0), (1, 3.0), (2, 5.0), (3, 5.0)], most=2)
    [(0, 2.0), (2, 5.0)]
    """
    points = finite_points(points)
    size = math.ceil(len(points) / most)
    if size <= 1:
        return points
    thinned = []
    for start in range(0, len(points), size):
        steps, values = zip(*points[start : start + size], strict=True)
        thinned.append((sum(steps) // len(steps), math.fsum(values) / len(values)))
    return thinned


def overlay(metric: str, runs: Sequence[Run]) -> Plot:
    """Plot a metric of all runs that have two finite points of it or more.

    Each run has the colour that it has on the whole page.
    """

    def lines(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        drawn = 0
        for index, run in enumerate(runs):
            points = thin_points(run.curves.get(metric, []))
            if len(points) > 1:
                _line(axes, index, points)
                drawn += 1
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
        if drawn <= LEGEND:
            axes.legend(fontsize=8, ncols=min(drawn, 4), handlelength=1.4, columnspacing=1.0)

    return draw_svg(metric, lines, _STAND_INS)


def _line(axes: Axes, index: int, points: Points) -> None:
    axes.plot(
        *zip(*points, strict=True),
        color=list(_STAND_INS)[index % COLOURS],
        linestyle=STYLES[index // COLOURS % len(STYLES)],
        linewidth=1.6,
        marker="o" if len(points) <= MARKED else None,
        markersize=3,
        label=letter(index),
    )
