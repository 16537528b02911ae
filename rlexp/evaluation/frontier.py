"""Reward against distance from the reference: what training bought beyond sampling more.

The frontier that Gao et al. 2022 (arXiv:2210.10760) draw: the run's evaluations as points, and
best-of-n of the reference as the yardstick, both on the same prompts, over the KL divergence of a
whole answer. Where the run's reward lies between those of best-of-n for two n, it is said to equal
the n between them, interpolated in log n; its interval is that of a bootstrap that draws prompts
and takes the run's and the reference's rewards of those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlexp.evaluation.best_of import BestOf, BestOfNSamples, best_of, expected_best, kl_bound
from rlexp.evaluation.bootstrap import CONFIDENCE

if TYPE_CHECKING:
    from rlexp.evaluation.results import Evaluation

MORE = None
"""For an n: more than were sampled."""
LESS = 0.0
"""For an n: worse than a single sample of the reference."""


@dataclass(frozen=True)
class Point:
    """An evaluation of the run, on the yardstick's prompts."""

    step: int
    kl: float
    """Nats an answer, from the reference."""
    reward: float


@dataclass(frozen=True)
class Frontier:
    """The run and its yardstick."""

    prompts: int
    """On so many prompts, the first of the held-out ones."""
    run: list[Point]
    """By step."""
    best_of: list[BestOf]
    """By n, the last of which is all that were sampled to a prompt."""
    n: float | None
    """Best-of-n that earns what the last point does; see `MORE` and `LESS`."""
    n_low: float | None
    """Ends of its 95 % interval."""
    n_high: float | None

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Frontier:
        """From what JSON makes of it."""
        run = [Point(**each) for each in content["run"]]
        yardstick = [BestOf(**each) for each in content["best_of"]]
        return cls(**(content | {"run": run, "best_of": yardstick}))


def frontier(
    evaluations: Mapping[int, Evaluation], draws: BestOfNSamples, resamples: int, seed: int
) -> Frontier | None:
    """Set the run's evaluations against best-of-n; None before the first of a trained policy, and
    where the last one has no reward or no KL.

    Args:
        evaluations: by step, of the same prompts as the draws and perhaps more.
        draws: of the reference.
        resamples, seed: of the bootstrap.
    """
    whole = draws.whole()
    yardstick = best_of(draws, resamples, seed)
    points = {
        step: point
        for step, found in sorted(evaluations.items())
        if (point := _point(step, found, list(whole))) is not None
    }
    end = max(evaluations, default=0)
    if not yardstick or end not in points or end == 0:
        return None
    last = evaluations[end]
    sizes = [each.n for each in yardstick]
    sums, counts = ([side[place] for place in whole] for side in last.ratios["reward"])
    curves = [[expected_best(rewards, n) for n in sizes] for rewards in whole.values()]
    n, ends = _equivalent(sums, counts, curves, sizes, resamples, seed)
    return Frontier(len(whole), list(points.values()), yardstick, n, *ends)


def _point(step: int, evaluation: Evaluation, places: Sequence[int]) -> Point | None:
    found = []
    for name in ("kl_sequence", "reward"):
        sums, counts = evaluation.ratios.get(name, ([], []))
        if not sums or not (count := sum(counts[place] for place in places)):
            return None
        found.append(sum(sums[place] for place in places) / count)
    return Point(step, *found) if all(map(math.isfinite, found)) else None


def _equivalent(
    sums: Sequence[float],
    counts: Sequence[float],
    curves: Sequence[Sequence[float]],
    sizes: Sequence[int],
    resamples: int,
    seed: int,
) -> tuple[float | None, tuple[float | None, float | None]]:
    """The n whose best earns as much, and the ends of its interval.

    Args:
        sums, counts: (prompts,) of the run's reward.
        curves: (prompts, sizes), rewards of best-of-n.
        sizes: the n, rising.
        resamples, seed: of the bootstrap.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    of, by, yardstick = (np.asarray(each, dtype=float) for each in (sums, counts, curves))
    drawn = random.integers(0, len(of), (resamples, len(of)))
    rewards = of[drawn].sum(1) / np.maximum(by[drawn].sum(1), 1)
    means = yardstick[drawn].mean(1)
    found = [n_of(reward, curve, sizes) for reward, curve in zip(rewards, means, strict=True)]
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [outside, 1 - outside], method="inverted_cdf").tolist()
    best = n_of(of.sum() / by.sum(), yardstick.mean(0), sizes)
    return _told(best), (_told(low), _told(high))


def n_of(reward: float, rewards: Sequence[float], sizes: Sequence[int]) -> float:
    """The n at which best-of-n earns `reward`; 0 below the curve's beginning, inf above its end.

    Args:
        reward: to be reached.
        rewards: of best-of-n for each of the sizes, rising.
        sizes: the n, rising.

    >>> round(n_of(1.5, [1.0, 2.0], [1, 4]), 6)
    2.0
    """
    if reward < rewards[0]:
        return LESS
    for index in range(1, len(sizes)):
        low, high = rewards[index - 1], rewards[index]
        if reward <= high:
            part = (reward - low) / (high - low) if high > low else 0.0
            step = math.log(sizes[index] / sizes[index - 1])
            return sizes[index - 1] * math.exp(part * step)
    return float(sizes[-1]) if reward == rewards[-1] else math.inf


def _told(n: float) -> float | None:
    return MORE if math.isinf(n) else n


def format_frontier(found: Frontier) -> str:
    """What the run's reward is worth in samples of the reference, in a sentence."""
    most, last = found.best_of[-1], found.run[-1]
    spent = f"the run's KL is {last.kl:.2f} nats an answer"
    if found.n is None:  # MORE
        ends = f", where best-of-{most.n}'s is at most {most.kl:.2f}"
        return f"Better than best-of-{most.n} of the reference by the reward: {spent}{ends}."
    if found.n == LESS and found.n_high == LESS:
        return f"Worse than one sample of the reference by the reward; {spent}."
    if found.n == LESS:
        most_n = _count(found.n_high, most.n)
        return f"No better than one sample of the reference (95% interval up to {most_n}); {spent}."
    low = "less than 1" if found.n_low == LESS else _count(found.n_low, most.n)
    between = f"{low} to {_count(found.n_high, most.n)}"
    ends = f", where such a best-of-n's is at most {kl_bound(found.n):.2f}"
    return (
        f"As much reward as best-of-n of the reference with n about {_count(found.n, most.n)} "
        f"(95% interval {between}): {spent}{ends}."
    )


def _count(n: float | None, most: int) -> str:
    if n is None:  # MORE
        return f"more than {most}"
    return f"{n:.0f}" if n >= 10 else f"{n:.1f}"
