"""The plots of a study: Optuna's own, as the page shows them.

A plot that a study is too young for, or of another kind, says why in its place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rlexp.rendering.svg import Plot
from rlexp.sweep.ownership import trials
from rlexp.sweep.report.plot_style import WIDE, Drawing, MissingPlot, draw_plot, mark_pruned
from rlexp.sweep.study import objective_names

MIN_TRIALS = 4
"""Complete trials below which importance and a contour would be made of nothing."""
MAX_SLICES = 12


@dataclass(frozen=True)
class PlotSection:
    """Plots that stand together; wide ones have a row of their own."""

    title: str
    drawings: Sequence[Drawing]
    wide: bool = False

    @property
    def plots(self) -> list[Plot]:
        """Those that could be made."""
        return [drawing for drawing in self.drawings if isinstance(drawing, Plot)]

    @property
    def missing(self) -> list[MissingPlot]:
        """Those that could not."""
        return [drawing for drawing in self.drawings if isinstance(drawing, MissingPlot)]


def plot_sections(study: optuna.Study) -> Iterator[PlotSection]:
    """Return all plots of a study, in the order in which people ask."""
    names = objective_names(study)
    objectives = range(len(names))
    first = [history_plot(study, objective) for objective in objectives]
    first += [intermediate_plot(study)] if len(names) == 1 else [pareto_plot(study)]
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
    if not complete_trials(study):
        return MissingPlot(title, "no trial is complete yet")
    return draw_plot(
        title,
        partial(
            optuna.visualization.matplotlib.plot_optimization_history,
            **_target_arguments(study, objective),
        ),
        study,
    )


def intermediate_plot(study: optuna.Study) -> Drawing:
    """Return the plot of each trial's evaluations by step; those of pruned ones end early."""
    title = f"{objective_names(study)[0]} by step"
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    reported = [trial for trial in trials(study, *states) if trial.intermediate_values]
    if not reported:
        return MissingPlot(
            title, "no trial was evaluated before its end: eval.every says how often"
        )
    draw = optuna.visualization.matplotlib.plot_intermediate_values
    return draw_plot(title, draw, study, partial(mark_pruned, reported, objective_names(study)[0]))


def pareto_plot(study: optuna.Study) -> Drawing:
    """Return the plot of the trials that none is better than in all objectives, among all."""
    names = objective_names(study)
    if len(names) > 3:
        return MissingPlot("Pareto front", f"{len(names)} objectives: it can show two or three")
    if not complete_trials(study):
        return MissingPlot("Pareto front", "no trial is complete yet")
    draw = partial(optuna.visualization.matplotlib.plot_pareto_front, target_names=names)
    return draw_plot("Pareto front", draw, study)


def importance_plot(study: optuna.Study, objective: int) -> Drawing:
    """Return the plot of the parameters by which the best trials differ from the others.

    The importance is PED-ANOVA's (arXiv:2304.10255).
    """
    title = f"What mattered to {objective_names(study)[objective]}"
    if why := _cannot_rank(study, objective, parameters=1):
        return MissingPlot(title, why)
    draw = partial(
        optuna.visualization.matplotlib.plot_param_importances,
        target=_minimised(study, objective),
        target_name=objective_names(study)[objective],
    )
    return draw_plot(title, draw, study)


def contour_plot(study: optuna.Study, objective: int) -> Drawing:
    """Return the plot of the objective over the two parameters that matter most to it."""
    title = f"{objective_names(study)[objective]} over the two that mattered most"
    if why := _cannot_rank(study, objective, parameters=2):
        return MissingPlot(title, why)
    first, second = _parameters_by_importance(study, objective)[:2]
    params = [
        trial.params
        for trial in complete_trials(study)
        if first in trial.params and second in trial.params
    ]
    if any(len({str(values[name]) for values in params}) < 2 for name in (first, second)):
        why = f"too few trials have both {first} and {second}, with values that differ"
        return MissingPlot(title, why)
    draw = partial(
        optuna.visualization.matplotlib.plot_contour,
        params=[first, second],
        **_target_arguments(study, objective),
    )
    return draw_plot(title, draw, study)


def parallel_plot(study: optuna.Study) -> Drawing:
    """Return the plot of each complete trial as a line through its values and its parameters."""
    title = "Each complete trial is a line; the darker it is the better"
    if not complete_trials(study):
        return MissingPlot("Parallel coordinates", "no trial is complete yet")
    draw = optuna.visualization.matplotlib.plot_parallel_coordinate
    single = {"target_name": objective_names(study)[0]} if len(study.directions) == 1 else {}
    return draw_plot(title, partial(draw, **single), study, size=WIDE)


def slice_plots(study: optuna.Study, objective: int) -> Iterator[Drawing]:
    """Return plots of the objective over each parameter by itself, the most important first."""
    names = _parameters_by_importance(study, objective)
    if not names:
        yield MissingPlot("Slices", "no trial is complete yet")
    for name in names[:MAX_SLICES]:
        draw = partial(
            optuna.visualization.matplotlib.plot_slice,
            params=[name],
            **_target_arguments(study, objective),
        )
        yield draw_plot(name, draw, study)
    if left := names[MAX_SLICES:]:
        yield MissingPlot("Further parameters", f"{', '.join(left)}: they matter less")


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a result."""
    return trials(study, TrialState.COMPLETE)


def _cannot_rank(study: optuna.Study, objective: int, parameters: int) -> str | None:
    """Return why nothing can be said of what matters; None where it can."""
    complete = complete_trials(study)
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
    names = sorted({name for trial in complete_trials(study) for name in trial.params})
    if _cannot_rank(study, objective, parameters=1):
        return names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the smaller ones are uncertain
        target = _minimised(study, objective)
        return list(optuna.importance.get_param_importances(study, target=target))
