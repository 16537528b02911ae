"""The plots of a study: Optuna's own, as the page shows them.

A plot that a study is too young for, or of another kind, says why in its place. A page of SVG is a
tenth of what plotly's script alone would weigh, runs no script, and prints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rlexp.rendering.svg import INK, MUTED, STYLE, Plot, as_svg
from rlexp.sweep.ownership import trials
from rlexp.sweep.study import objective_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_TRIALS = 4
"""Complete trials below which importance and a contour would be made of nothing."""
MAX_SLICES = 12
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


@dataclass(frozen=True)
class PlotSection:
    """Plots that stand together; wide ones have a row of their own."""

    title: str
    drawings: Sequence[Drawing]
    wide: bool = False


def plot_sections(study: optuna.Study) -> Iterator[PlotSection]:
    """Yield all plots of a study, in the order in which people ask."""
    names = objective_names(study)
    objectives = range(len(names))
    first = [history_plot(study, objective) for objective in objectives]
    first += [intermediate_plot(study) if len(names) == 1 else pareto_plot(study)]
    first += [importance_plot(study, objective) for objective in objectives]
    first += [contour_plot(study, objective) for objective in objectives]
    yield PlotSection("How it went, and what mattered", first)
    yield PlotSection("Parallel coordinates", [parallel_plot(study)], wide=True)
    for objective in objectives:
        plots = list(slice_plots(study, objective))
        yield PlotSection(f"{names[objective]} over each parameter", plots)


def history_plot(study: optuna.Study, objective: int) -> Drawing:
    """Return the plot of each trial's value, and of the best so far."""
    title = f"{objective_names(study)[objective]} by trial"
    if not trials(study, TrialState.COMPLETE):
        return MissingPlot(title, "no trial is complete yet")
    draw = optuna.visualization.matplotlib.plot_optimization_history
    return draw_plot(title, draw, study, **_target_arguments(study, objective))


def intermediate_plot(study: optuna.Study) -> Drawing:
    """Return the plot of each trial's evaluations by step; those of pruned ones end early."""
    name = objective_names(study)[0]
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    reported = [trial for trial in trials(study, *states) if trial.intermediate_values]
    if not reported:
        why = "no trial was evaluated before its end: eval.every says how often"
        return MissingPlot(f"{name} by step", why)
    draw = optuna.visualization.matplotlib.plot_intermediate_values
    return draw_plot(f"{name} by step", draw, study, partial(mark_pruned, reported, name))


def pareto_plot(study: optuna.Study) -> Drawing:
    """Return the plot of the trials that none is better than in all objectives, among all."""
    title, names = "Pareto front", objective_names(study)
    if len(names) > 3:
        return MissingPlot(title, f"{len(names)} objectives: it can show two or three")
    if not trials(study, TrialState.COMPLETE):
        return MissingPlot(title, "no trial is complete yet")
    return draw_plot(
        title, optuna.visualization.matplotlib.plot_pareto_front, study, target_names=names
    )


def importance_plot(study: optuna.Study, objective: int) -> Drawing:
    """Return the plot of the parameters by which the best trials differ from the others.

    The importance is PED-ANOVA's (arXiv:2304.10255).
    """
    name = objective_names(study)[objective]
    if why := _cannot_rank(study, objective, parameters=1):
        return MissingPlot(f"What mattered to {name}", why)
    draw = optuna.visualization.matplotlib.plot_param_importances
    target = _minimised(study, objective)
    return draw_plot(f"What mattered to {name}", draw, study, target=target, target_name=name)


def contour_plot(study: optuna.Study, objective: int) -> Drawing:
    """Return the plot of the objective over the two parameters that matter most to it."""
    title = f"{objective_names(study)[objective]} over the two that mattered most"
    if why := _cannot_rank(study, objective, parameters=2):
        return MissingPlot(title, why)
    pair = _parameters_by_importance(study, objective)[:2]
    params = [trial.params for trial in trials(study, TrialState.COMPLETE)]
    params = [values for values in params if all(name in values for name in pair)]
    if any(len({str(values[name]) for values in params}) < 2 for name in pair):
        why = f"too few trials have both {' and '.join(pair)}, with values that differ"
        return MissingPlot(title, why)
    arguments = _target_arguments(study, objective)
    return draw_plot(
        title, optuna.visualization.matplotlib.plot_contour, study, params=pair, **arguments
    )


def parallel_plot(study: optuna.Study) -> Drawing:
    """Return the plot of each complete trial as a line through its values and its parameters."""
    title = "Each complete trial is a line; the darker it is the better"
    if not trials(study, TrialState.COMPLETE):
        return MissingPlot("Parallel coordinates", "no trial is complete yet")
    draw = optuna.visualization.matplotlib.plot_parallel_coordinate
    named: dict[str, Any] = {"target_name": objective_names(study)[0]}
    single = named if len(study.directions) == 1 else {}
    return draw_plot(title, draw, study, size=WIDE, **single)


def slice_plots(study: optuna.Study, objective: int) -> Iterator[Drawing]:
    """Yield plots of the objective over each parameter by itself, the most important first."""
    names = _parameters_by_importance(study, objective)
    if not names:
        yield MissingPlot("Slices", "no trial is complete yet")
    draw, arguments = (
        optuna.visualization.matplotlib.plot_slice,
        _target_arguments(study, objective),
    )
    for name in names[:MAX_SLICES]:
        yield draw_plot(name, draw, study, params=[name], **arguments)
    if left := names[MAX_SLICES:]:
        yield MissingPlot("Further parameters", f"{', '.join(left)}: they matter less")


def _cannot_rank(study: optuna.Study, objective: int, parameters: int) -> str | None:
    """Return why nothing can be said of what matters; None where it can."""
    complete = trials(study, TrialState.COMPLETE)
    if len(complete) < MIN_TRIALS:
        return f"{len(complete)} complete trials: it wants {MIN_TRIALS}"
    searched = {name for trial in complete for name in trial.params}
    if len(searched) < parameters:
        return "a single parameter is searched"
    if len({trial.values[objective] for trial in complete}) == 1:
        return "all trials came to the same value"
    return None


def _target_arguments(study: optuna.Study, objective: int) -> dict[str, Any]:
    """Return the arguments by which Optuna's plots know which objective is meant."""
    name = {"target_name": objective_names(study)[objective]}
    if len(study.directions) == 1:
        return name  # with a target Optuna would not know what is better
    return {**name, "target": lambda trial: trial.values[objective]}


def _minimised(study: optuna.Study, objective: int) -> Callable[[FrozenTrial], float]:
    """Return the objective as PED-ANOVA takes it: less is better."""
    sign = -1.0 if study.directions[objective] == StudyDirection.MAXIMIZE else 1.0
    return lambda trial: sign * trial.values[objective]


def _parameters_by_importance(study: optuna.Study, objective: int) -> list[str]:
    """Return the parameters of complete trials; the most important first, where that is known."""
    names = sorted({name for trial in trials(study, TrialState.COMPLETE) for name in trial.params})
    if _cannot_rank(study, objective, parameters=1):
        return names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the smaller ones are uncertain
        target = _minimised(study, objective)
        return list(optuna.importance.get_param_importances(study, target=target))
