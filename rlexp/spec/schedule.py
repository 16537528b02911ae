"""Weights that may change over the training: of a reward's terms, and of a mix's data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from rlexp.spec.errors import Problem, Problems

SCHEDULE = "a finite number, [[step, weight], …] by rising steps, or {from: …, to: …, steps: …}"


@dataclass(frozen=True)
class Weight:
    """A weight over the training: linear between points, constant before and after them.

    >>> rising = Weight(((10, 0.0), (20, 1.0)))
    >>> [rising.at(step) for step in (0, 10, 15, 99)]
    [0.0, 0.0, 0.5, 1.0]
    """

    points: tuple[tuple[int, float], ...]
    """(optimizer steps done, weight), by rising steps."""

    def at(self, step: int) -> float:
        """The weight of a batch that is sampled after so many optimizer steps."""
        before = [point for point in self.points if point[0] <= step]
        after = [point for point in self.points if point[0] > step]
        if not before or not after:
            return (before[-1:] or after)[0][1]
        (start, low), (end, high) = before[-1], after[0]
        return low + (high - low) * (step - start) / (end - start)

    @property
    def peak(self) -> float:
        """The largest weight of the schedule."""
        return max(weight for _, weight in self.points)

    @property
    def final(self) -> float:
        """The weight that the schedule ends with."""
        return self.points[-1][1]


UNIT = Weight(((0, 1.0),))
"""The weight of what has none."""


def read_weight(given: object, key: str, problems: Problems) -> Weight | None:
    """Return the weight that a config gives; None after adding a mistake to `problems`.

    Args:
        given: a number, a list of [step, weight], or {from: …, to: …, steps: …}.
        key: full path of the weight.
        problems: where mistakes are added.

    >>> read_weight({"from": 1, "to": 3, "steps": 10}, "reward.terms.short.weight", []).at(5)
    2.0
    """
    points = _points(given)
    checked = [
        (step, float(weight)) for step, weight in points if _is_step(step) and is_finite(weight)
    ]
    steps = [step for step, _ in checked]
    if points and len(checked) == len(points) and steps == sorted(set(steps)):
        return Weight(tuple(checked))
    got = "nothing" if given is None else repr(given)
    remedy = f"Set +{key}=1" if given is None else f"Set {key}=1"
    problems.append(Problem(key, got, SCHEDULE, remedy))
    return None


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether a value of the config is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _points(given: object) -> list[tuple[object, object]]:
    """Return a schedule's points, unchecked; none where it has another form."""
    if isinstance(given, dict):
        if set(given) != {"from", "to", "steps"} or given["steps"] == 0:
            return []
        return [(0, given["from"]), (given["steps"], given["to"])]
    if isinstance(given, list | tuple):
        pairs = [tuple(point) for point in given if isinstance(point, list | tuple)]
        return pairs if len(pairs) == len(given) and all(len(pair) == 2 for pair in pairs) else []
    return [(0, given)]


def _is_step(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def shares_at(weights: Mapping[str, Weight], step: int) -> dict[str, float]:
    """Return what part of the sum of all weights each one is, at a step; they add up to 1.

    >>> shares_at({"a": Weight(((0, 0.0), (10, 3.0))), "b": UNIT}, 10)
    {'a': 0.75, 'b': 0.25}
    """
    values = {name: weight.at(step) for name, weight in weights.items()}
    total = math.fsum(values.values())
    return {name: value / total for name, value in values.items()}


def mean_shares(weights: Mapping[str, Weight], steps: int) -> dict[str, float]:
    """Return each one's share of a training of so many steps."""
    by_step = [shares_at(weights, step) for step in range(steps)]
    return {name: math.fsum(shares[name] for shares in by_step) / steps for name in weights}


def share_problems(weights: Mapping[str, Weight], key: str, own_key: str = "") -> Problems:
    """Return what is wrong with weights as shares: negative ones, a step at which all are 0.

    Args:
        weights: by name.
        key: full path of all of them, below which the names are.
        own_key: of the weight below a name; empty where the name is its key.
    """
    keys = {name: f"{key}.{name}{own_key and '.'}{own_key}" for name in weights}
    negative = [
        Problem(keys[name], f"{low:g}", "0 or more: it is a share", f"Set {keys[name]}=0")
        for name, weight in weights.items()
        if (low := min(value for _, value in weight.points)) < 0
    ]
    if negative or not weights:
        return negative
    # between two points the sum is linear, so that it is 0 there only if it is at a point
    steps = sorted({0, *(step for weight in weights.values() for step, _ in weight.points)})
    empty = [step for step in steps if not any(weight.at(step) for weight in weights.values())]
    if not empty:
        return []
    got, want = f"weights that are all 0 at step {empty[0]}", "one above 0 at every step"
    return [Problem(key, got, want, f"Set {next(iter(keys.values()))}=1")]
