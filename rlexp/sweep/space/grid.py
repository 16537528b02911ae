"""Spaces of which every combination is tried once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from rlexp.spec.errors import Problem
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.space.space import Choice, Parameter, SearchSpace

SAMPLER = "optuna.samplers.GridSampler"


def is_grid(spec: SweepSpec) -> bool:
    """Whether the sampler goes through all combinations."""
    return spec.sampler.get("_target_") == SAMPLER


def grid_problems(space: SearchSpace) -> list[Problem]:
    """Parameters that have no grid."""
    problems = [
        Problem(
            each.name,
            each.text,
            "choice(…) or range(…): sweep/sampler=grid tries every value",
            "Another sampler takes intervals: sweep/sampler=tpe.",
        )
        for each in space.parameters
        if _points(each) is None
    ]
    problems += [
        Problem(
            each.name,
            "a condition",
            "no conditions: sweep/sampler=grid tries every combination",
            "Another sampler takes them: sweep/sampler=tpe.",
        )
        for each in space.parameters
        if each.conditions
    ]
    return problems


def grid_values(space: SearchSpace) -> Mapping[str, Sequence[Any]]:
    """All values of each parameter, for Optuna's grid sampler."""
    return {each.name: _points(each) or () for each in space.parameters}


def max_trials(spec: SweepSpec, space: SearchSpace) -> int:
    """Trials that there can be: the combinations of a grid, else as many as are asked for."""
    return prod(map(len, grid_values(space).values())) if is_grid(spec) else spec.n_trials


def _points(parameter: Parameter) -> Sequence[Any] | None:
    domain = parameter.domain
    return domain.values if isinstance(domain, Choice) else domain.grid()
