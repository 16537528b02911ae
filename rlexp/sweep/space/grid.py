"""A grid: a sampler that goes through all combinations of its parameters' values, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlexp.spec.errors import Problem
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.space.space import SearchSpace, Value

GRID = "optuna.samplers.GridSampler"


def is_grid(spec: SweepSpec) -> bool:
    """Whether the sampler goes through all combinations, each once."""
    return spec.sampler.get("_target_") == GRID


def grid_problems(space: SearchSpace) -> list[Problem]:
    """Return what is wrong with parameters that have no grid."""
    values = "choice(…) or range(…): sweep/sampler=grid tries every value"
    other = "Another sampler takes intervals: sweep/sampler=tpe."
    problems = [
        Problem(parameter.name, parameter.text, values, other)
        for parameter in space.parameters
        if parameter.domain.grid() is None
    ]
    unconditional = "no conditions: sweep/sampler=grid tries every combination"
    other = "Another sampler takes them: sweep/sampler=tpe."
    conditional = [parameter for parameter in space.parameters if parameter.conditions]
    return problems + [Problem(p.name, "a condition", unconditional, other) for p in conditional]


def grid_values(space: SearchSpace) -> Mapping[str, Sequence[Value]]:
    """Return all values of each parameter by name, for Optuna's grid sampler."""
    return {parameter.name: parameter.domain.grid() or () for parameter in space.parameters}
