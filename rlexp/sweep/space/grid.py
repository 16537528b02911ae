"""Grid of a search space: every combination of its values, each tried once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from rlexp.spec.errors import Problem
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.space.space import Choice, Parameter, SearchSpace, Value

SAMPLER = "optuna.samplers.GridSampler"


def is_grid(spec: SweepSpec) -> bool:
    """Whether the sampler goes through all combinations."""
    return spec.sampler.get("_target_") == SAMPLER


def grid_problems(space: SearchSpace) -> list[Problem]:
    """Return what is wrong with parameters that have no grid."""
    problems = [
        Problem(
            parameter.name,
            parameter.text,
            "choice(…) or range(…): sweep/sampler=grid tries every value",
            "Another sampler takes intervals: sweep/sampler=tpe.",
        )
        for parameter in space.parameters
        if _grid_of(parameter) is None
    ]
    problems += [
        Problem(
            parameter.name,
            "a condition",
            "no conditions: sweep/sampler=grid tries every combination",
            "Another sampler takes them: sweep/sampler=tpe.",
        )
        for parameter in space.parameters
        if parameter.conditions
    ]
    return problems


def grid_values(space: SearchSpace) -> Mapping[str, Sequence[Value]]:
    """Return all values of each parameter by name, for Optuna's grid sampler."""
    return {parameter.name: _grid_of(parameter) or () for parameter in space.parameters}


def max_trials(spec: SweepSpec, space: SearchSpace) -> int:
    """Return how many trials there can be: a grid's combinations, else as many as asked for."""
    return prod(map(len, grid_values(space).values())) if is_grid(spec) else spec.n_trials


def _grid_of(parameter: Parameter) -> Sequence[Value] | None:
    """Return all values of a parameter; None where they cannot be counted."""
    domain = parameter.domain
    return domain.values if isinstance(domain, Choice) else domain.grid()
