"""Optuna's own plots of a study, in the page's letters and colours.

They are Optuna's matplotlib plots, as SVG: a page is a tenth of what plotly's script alone would
weigh, runs no script, and prints. A plot that a study is too young for, or of another kind, says
why in its place.
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
from rlexp.sweep.study import OBJECTIVES

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


@dataclass(frozen=True)
class PlotSection:
    """Plots that stand together; wide ones have a row of their own."""

    title: str
    drawings: Sequence[Drawing]
    wide: bool = False


def plot_sections(study: optuna.Study) -> Iterator[PlotSection]:
    """All plots of a study, in the order in which people ask."""
    names = objective_names(study)
    targets = range(len(names))
    first = [history_plot(study, each) for each in targets]
    first += [intermediate_plot(study)] if len(names) == 1 else [pareto_plot(study)]
    first += [importance_plot(study, each) for each in targets]
    first += [contour_plot(study, each) for each in targets]
    yield PlotSection("How it went, and what mattered", first)
    yield PlotSection("Parallel coordinates", [parallel_plot(study)], wide=True)
    for each in targets:
        yield PlotSection(f"{names[each]} over each parameter", list(slice_plots(study, each)))


def objective_names(study: optuna.Study) -> list[str]:
    """The metrics that a study looks for, in the order of its directions."""
    return study.user_attrs[OBJECTIVES]


def history_plot(study: optuna.Study, objective: int) -> Drawing:
    """Each trial's value, and the best so far."""
    title = f"{objective_names(study)[objective]} by trial"
    if not complete_trials(study):
        return MissingPlot(title, "no trial is complete yet")
    return _drawn(
        title,
        partial(optuna.visualization.matplotlib.plot_optimization_history, **_of(study, objective)),
        study,
    )


def intermediate_plot(study: optuna.Study) -> Drawing:
    """Each trial's evaluations by step; those of pruned ones end early."""
    title = f"{objective_names(study)[0]} by step"
    drawn = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    trials = study.get_trials(deepcopy=False, states=drawn)
    reported = [trial for trial in trials if trial.intermediate_values]
    if not reported:
        return MissingPlot(
            title, "no trial was evaluated before its end: eval.every says how often"
        )
    draw = optuna.visualization.matplotlib.plot_intermediate_values
    return _drawn(title, draw, study, partial(_tell_pruned, reported, objective_names(study)[0]))


def pareto_plot(study: optuna.Study) -> Drawing:
    """The trials that none is better than in all objectives, among the others."""
    names = objective_names(study)
    if len(names) > 3:
        return MissingPlot("Pareto front", f"{len(names)} objectives: it can show two or three")
    if not complete_trials(study):
        return MissingPlot("Pareto front", "no trial is complete yet")
    draw = partial(optuna.visualization.matplotlib.plot_pareto_front, target_names=names)
    return _drawn("Pareto front", draw, study)


def importance_plot(study: optuna.Study, objective: int) -> Drawing:
    """By which parameters the best trials differ from the others (PED-ANOVA, arXiv:2304.10255)."""
    title = f"What mattered to {objective_names(study)[objective]}"
    if why := _too_little(study, objective, parameters=1):
        return MissingPlot(title, why)
    draw = partial(
        optuna.visualization.matplotlib.plot_param_importances,
        target=_downwards(study, objective),
        target_name=objective_names(study)[objective],
    )
    return _drawn(title, draw, study)


def contour_plot(study: optuna.Study, objective: int) -> Drawing:
    """The objective over the two parameters that matter most to it."""
    title = f"{objective_names(study)[objective]} over the two that mattered most"
    if why := _too_little(study, objective, parameters=2):
        return MissingPlot(title, why)
    first, second = _by_importance(study, objective)[:2]
    together = [
        trial.params
        for trial in complete_trials(study)
        if first in trial.params and second in trial.params
    ]
    if any(len({str(each[name]) for each in together}) < 2 for name in (first, second)):
        why = f"too few trials have both {first} and {second}, with values that differ"
        return MissingPlot(title, why)
    draw = partial(
        optuna.visualization.matplotlib.plot_contour,
        params=[first, second],
        **_of(study, objective),
    )
    return _drawn(title, draw, study)


def parallel_plot(study: optuna.Study) -> Drawing:
    """Each complete trial as a line through its values and its parameters."""
    title = "Each complete trial is a line; the darker it is the better"
    if not complete_trials(study):
        return MissingPlot("Parallel coordinates", "no trial is complete yet")
    draw = optuna.visualization.matplotlib.plot_parallel_coordinate
    single = {"target_name": objective_names(study)[0]} if len(study.directions) == 1 else {}
    return _drawn(title, partial(draw, **single), study, size=WIDE)


def slice_plots(study: optuna.Study, objective: int) -> Iterator[Drawing]:
    """The objective over each parameter by itself, the most important first."""
    names = _by_importance(study, objective)
    if not names:
        yield MissingPlot("Slices", "no trial is complete yet")
    for name in names[:MAX_SLICES]:
        draw = partial(
            optuna.visualization.matplotlib.plot_slice, params=[name], **_of(study, objective)
        )
        yield _drawn(name, draw, study)
    if left := names[MAX_SLICES:]:
        yield MissingPlot("Further parameters", f"{', '.join(left)}: they matter less")


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have a result."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _too_little(study: optuna.Study, objective: int, parameters: int) -> str | None:
    """Why nothing can be said of what matters, where it is so."""
    done = complete_trials(study)
    if len(done) < MIN_TRIALS:
        return f"{len(done)} complete trials: it wants {MIN_TRIALS}"
    searched = {name for trial in done for name in trial.params}
    if len(searched) < parameters:
        return "a single parameter is searched"
    if len({trial.values[objective] for trial in done}) == 1:
        return "all trials came to the same value"
    return None


def _of(study: optuna.Study, objective: int) -> dict[str, Any]:
    """How Optuna's plots are told which objective is meant."""
    name = {"target_name": objective_names(study)[objective]}
    if len(study.directions) == 1:
        return name  # with a target Optuna would not know what is better
    return {**name, "target": lambda trial: trial.values[objective]}


def _downwards(study: optuna.Study, objective: int) -> Callable[[FrozenTrial], float]:
    """The objective as PED-ANOVA takes it: less is better."""
    sign = -1.0 if study.directions[objective] == StudyDirection.MAXIMIZE else 1.0
    return lambda trial: sign * trial.values[objective]


def _by_importance(study: optuna.Study, objective: int) -> list[str]:
    """The parameters of complete trials; the most important first, where that can be said."""
    names = sorted({name for trial in complete_trials(study) for name in trial.params})
    if _too_little(study, objective, parameters=1):
        return names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the smaller ones are uncertain
        found = optuna.importance.get_param_importances(study, target=_downwards(study, objective))
    return list(found)


def _drawn(
    title: str,
    draw: Callable[[optuna.Study], Any],
    study: optuna.Study,
    finish: Callable[[Figure], None] = lambda figure: None,
    size: tuple[float, float] = SMALL,
) -> Drawing:
    """One of Optuna's plots as it looks on the page."""
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
            draw(study)
            figure = pyplot.gcf()
            finish(figure)
            _restyle(figure, size)
            if len(complete_trials(study)) > MAX_VECTOR_TRIALS:
                for artist in figure.findobj(lambda each: isinstance(each, (Collection, Line2D))):
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


def _tell_pruned(trials: Sequence[FrozenTrial], name: str, figure: Figure) -> None:
    """Tell pruned trials from the others; Optuna draws a line for each, in a colour of its own."""
    (axes,) = figure.axes
    axes.set_ylabel(name)
    shown: set[str] = set()
    for trial, line in zip(trials, list(axes.lines), strict=True):
        pruned = trial.state == TrialState.PRUNED
        label = "pruned" if pruned else "not pruned"
        line.set(
            color=CUT_SHORT if pruned else DOT,
            linestyle="dashed" if pruned else "solid",
            marker="." if len(trial.intermediate_values) == 1 else "",
            label=f"_{label}" if label in shown else label,
        )
        shown.add(label)
        if pruned:
            step = max(trial.intermediate_values)
            axes.plot([step], [trial.intermediate_values[step]], "x", color=CUT_SHORT)
    if axes.get_legend() is None and len(shown) > 1:
        axes.legend()
