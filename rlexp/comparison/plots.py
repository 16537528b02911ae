"""Curves of several runs over each other, each run in the colour that it has on the whole page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlexp.comparison.curves import thin_points
from rlexp.comparison.run_data import Points, Run, letter
from rlexp.rendering.svg import TICKS, Plot, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = 8
STYLES = ("solid", (0, (4, 1.5)), (0, (1, 1)))
"""One for each time that the colours are used up."""
MARKED = 12
"""Points of a curve up to which each of them is marked."""
LEGEND = 8

_STAND_INS = {f"#0107{index:02d}": f"--run-{index}" for index in range(COLOURS)}


def overlay(metric: str, runs: Sequence[Run]) -> Plot:
    """Plot a metric of all runs that have two finite points of it or more."""

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
