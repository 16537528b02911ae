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
    if not complete_trials(study):
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
    if not complete_trials(study):
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
    params = [trial.params for trial in complete_trials(study)]
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
    if not complete_trials(study):
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
