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
from typing import Any

from rlexp.evaluation.best_of_n import samples as best_of_n
from rlexp.evaluation.best_of_n.samples import BestOf, BestOfNSamples
from rlexp.evaluation.bootstrap import CONFIDENCE
from rlexp.evaluation.results import Evaluation

MORE = None
"""For an n: more than were sampled."""
LESS = 0.0
"""For an n: worse than a single sample of the reference."""


@dataclass(frozen=True)
class Point:
    """An evaluation of the run, on the prompts that the reference was sampled at."""

    step: int
    kl: float
    """Nats an answer, from the reference."""
    reward: float


@dataclass(frozen=True)
class Frontier:
    """The run, and best-of-n of the reference on the same prompts."""

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
        """Read what JSON made of one."""
        run = [Point(**point) for point in content["run"]]
        baseline = [BestOf(**result) for result in content["best_of"]]
        return cls(**(content | {"run": run, "best_of": baseline}))


def frontier(
    evaluations: Mapping[int, Evaluation], samples: BestOfNSamples, resamples: int, seed: int
) -> Frontier | None:
    """Return the run's evaluations, by step, against best-of-n on the samples' prompts.

    None before the first of a trained policy, and where the last one has no reward or no KL.
    """
    import numpy as np

    complete = samples.complete()
    baseline = best_of_n.best_of(samples, resamples, seed)
    points = {
        step: point
        for step, evaluation in sorted(evaluations.items())
        if (point := _point(step, evaluation, list(complete))) is not None
    }
    end = max(evaluations, default=0)
    if not baseline or end not in points or end == 0:
        return None
    last = evaluations[end]
    sizes = [result.n for result in baseline]
    sums, counts = ([column[prompt] for prompt in complete] for column in last.ratios["reward"])
    curves = [[best_of_n.expected_best(rewards, n) for n in sizes] for rewards in complete.values()]
    total, count, means = (np.asarray(column, dtype=float) for column in (sums, counts, curves))
    # the n that earns as much, and its ends: prompts are drawn, with the rewards of both sides
    drawn = np.random.default_rng(seed).integers(0, len(total), (resamples, len(total)))
    rewards = total[drawn].sum(1) / np.maximum(count[drawn].sum(1), 1)
    drawn_curves = zip(rewards, means[drawn].mean(1), strict=True)
    drawn_n = [equivalent_n(reward, curve, sizes) for reward, curve in drawn_curves]
    outside = (1 - CONFIDENCE) / 2
    ends = np.quantile(drawn_n, [outside, 1 - outside], method="inverted_cdf").tolist()
    best = equivalent_n(total.sum() / count.sum(), means.mean(0), sizes)
    equivalents = (MORE if math.isinf(n) else n for n in (best, *ends))
    return Frontier(len(complete), list(points.values()), baseline, *equivalents)


def _point(step: int, evaluation: Evaluation, prompts: Sequence[int]) -> Point | None:
    """Return an evaluation's KL and reward on some of its prompts; None where it lacks one."""
    means = []
    for name in ("kl_sequence", "reward"):
        sums, counts = evaluation.ratios.get(name, ([], []))
        if not sums or not (count := sum(counts[prompt] for prompt in prompts)):
            return None
        means.append(sum(sums[prompt] for prompt in prompts) / count)
    return Point(step, *means) if all(map(math.isfinite, means)) else None


def equivalent_n(reward: float, rewards: Sequence[float], sizes: Sequence[int]) -> float:
    """Return the n, of rising sizes, whose best earns `reward`; 0 below the curve, inf above it.

    >>> round(equivalent_n(1.5, [1.0, 2.0], [1, 4]), 6)
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


def format_frontier(frontier: Frontier) -> str:
    """Return what the run's reward is worth in samples of the reference, in a sentence."""
    most, last = frontier.best_of[-1], frontier.run[-1]
    spent = f"the run's KL is {last.kl:.2f} nats an answer"
    if frontier.n is None:  # MORE
        ends = f", where best-of-{most.n}'s is at most {most.kl:.2f}"
        return f"Better than best-of-{most.n} of the reference by the reward: {spent}{ends}."
    if frontier.n == LESS and frontier.n_high == LESS:
        return f"Worse than one sample of the reference by the reward; {spent}."
    if frontier.n == LESS:
        most_n = _format_n(frontier.n_high, most.n)
        return f"No better than one sample of the reference (95% interval up to {most_n}); {spent}."
    low = "less than 1" if frontier.n_low == LESS else _format_n(frontier.n_low, most.n)
    between = f"{low} to {_format_n(frontier.n_high, most.n)}"
    ends = f", where such a best-of-n's is at most {best_of_n.kl_bound(frontier.n):.2f}"
    return (
        f"As much reward as best-of-n of the reference with n about "
        f"{_format_n(frontier.n, most.n)} (95% interval {between}): {spent}{ends}."
    )


def _format_n(n: float | None, most: int) -> str:
    if n is None:  # MORE
        return f"more than {most}"
    return f"{n:.0f}" if n >= 10 else f"{n:.1f}"
