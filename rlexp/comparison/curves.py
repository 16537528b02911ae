"""Which curves to lay over each other, those that matter first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlexp.comparison.run_data import Points, Run

FIRST = (
    "rollout/reward",
    "eval/reward",
    "eval/accuracy",
    "train/loss",
    "eval/kl",
    "rollout/kl",
    "eval/grammatical",
    "rollout/length",
    "rollout/entropy",
    "train/reward_accuracy",
    "train/token_accuracy",
    "train/accuracy",
    "eval/length",
    "eval/perplexity",
)
SHOWN = 6
MOST_POINTS = 300


def curve_names(runs: Sequence[Run], wanted: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Return which metrics have a curve: the few that matter, and all others by name.

    The losses of two algorithms have nothing in common, and do not matter.

    Args:
        runs: with curves of two finite points or more.
        wanted: names that were asked for; they go first.
    """
    counts: dict[str, int] = {}
    for run in runs:
        for name, points in run.curves.items():
            if len(finite_points(points)) > 1:
                counts[name] = counts.get(name, 0) + 1
    alike = len({run.algo for run in runs}) == 1
    several = [
        name for name in FIRST if counts.get(name, 0) > 1 and (alike or name != "train/loss")
    ]
    first = list(dict.fromkeys([*(name for name in wanted if name in counts), *several]))[
        : max(SHOWN, len(wanted))
    ]
    return first, sorted(counts.keys() - first)


def finite_points(points: Points) -> Points:
    """Leave out points whose value is not finite."""
    return [(step, value) for step, value in points if math.isfinite(value)]


def thin_points(points: Points, most: int = MOST_POINTS) -> Points:
    """Return at most so many finite points, each the mean of neighbours at their mean step.

    >>> thin_points([(0, 1.0), (1, 3.0), (2, 5.0), (3, 5.0)], most=2)
    [(0, 2.0), (2, 5.0)]
    """
    points = finite_points(points)
    size = math.ceil(len(points) / most)
    if size <= 1:
        return points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (
            sum(step for step, _ in group) // len(group),
            math.fsum(value for _, value in group) / len(group),
        )
        for group in groups
    ]
