"""Optuna's matplotlib plots in the page's letters and colours, as SVG.

A page of them is a tenth of what plotly's script alone would weigh, runs no script, and prints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from rlexp.rendering.svg import INK, MUTED, STYLE, Plot, as_svg
from rlexp.sweep.ownership import trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_VECTOR_TRIALS = 1500
"""Trials beyond which dots and lines become pixels: the page would weigh more than the study."""
SMALL, WIDE = (4.0, 2.6), (12.0, 4.2)  # inches
DOT, LINE, CUT_SHORT = "#1f77b4", "#d62728", "#8c564b"
"""Optuna's blue and red, and the colour of pruned trials."""
COLOURS = {DOT: "--after", LINE: "--warn", CUT_SHORT: "--before"}


@dataclass(frozen=True)
class MissingPlot:
    """A plot that cannot be made, and why."""

    title: str
    why: str


Drawing = Plot | MissingPlot


def draw_plot(
    title: str,
    draw: Callable[..., object],
    study: optuna.Study,
    finish: Callable[[Figure], None] = lambda figure: None,
    size: tuple[float, float] = SMALL,
    **arguments: object,
) -> Drawing:
    """Return one of Optuna's plots, drawn with these arguments, as it looks on the page."""
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D

    before = set(pyplot.get_fignums())
    settings = {**STYLE, "figure.constrained_layout.use": True, "savefig.dpi": 150}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Optuna's plots are experimental
        pyplot.switch_backend("agg")
        try:
            draw(study, **arguments)
            figure = pyplot.gcf()
            finish(figure)
            _restyle(figure, size)
            if len(trials(study, TrialState.COMPLETE)) > MAX_VECTOR_TRIALS:
                # dots and lines become pixels; letters and axes stay vectors
                for artist in figure.findobj(lambda part: isinstance(part, (Collection, Line2D))):
                    artist.set_rasterized(True)
            return Plot(title, as_svg(figure, COLOURS))
        except Exception as error:  # whatever it trips over, a sweep that has ended is to be told
            return MissingPlot(title, f"{type(error).__name__}: {' '.join(str(error).split())}")
        finally:
            for number in set(pyplot.get_fignums()) - before:
                pyplot.close(number)


def _restyle(figure: Figure, size: tuple[float, float]) -> None:
    """Take Optuna's own style off: a grey ground, and white lines that a dark page would show."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure.set_size_inches(size)
    for axes in figure.axes:
        axes.set_title("")
        axes.set_title("", loc="left")
        axes.set_facecolor("none")
        axes.set_axisbelow(True)
        axes.tick_params(colors=MUTED, labelsize=8, which="both")
        for axis in (axes.xaxis, axes.yaxis, getattr(axes, "zaxis", None)):
            if axis is not None:
                axis.label.set(color=MUTED, size=9)
            if pane := getattr(axis, "pane", None):  # a wall of three dimensions
                pane.set_facecolor("none")
        axes.grid(visible=False)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.set_major_formatter(lambda value, position: f"{value:g}")
                axis.set_minor_locator(NullLocator())
        for spine in axes.spines.values():
            spine.set_edgecolor(MUTED)
        for text in axes.texts:
            text.set(color=INK, size=8)
        if legend := axes.get_legend():
            handles, labels = axes.get_legend_handles_labels()
            legend.remove()
            if len(labels) > 1:
                axes.legend(handles, labels, loc="best", fontsize=8, labelcolor=INK)


def mark_pruned(reported: Sequence[FrozenTrial], name: str, figure: Figure) -> None:
    """Tell pruned trials from the others by their lines: Optuna gives each a colour of its own."""
    (axes,) = figure.axes
    axes.set_ylabel(name)
    labels: set[str] = set()
    for trial, line in zip(reported, list(axes.lines), strict=True):
        pruned = trial.state == TrialState.PRUNED
        label = "pruned" if pruned else "not pruned"
        line.set(
            color=CUT_SHORT if pruned else DOT,
            linestyle="dashed" if pruned else "solid",
            marker="." if len(trial.intermediate_values) == 1 else "",
            label=f"_{label}" if label in labels else label,
        )
        labels.add(label)
        if pruned:
            step = max(trial.intermediate_values)
            axes.plot([step], [trial.intermediate_values[step]], "x", color=CUT_SHORT)
    if axes.get_legend() is None and len(labels) > 1:
        axes.legend()
