"""What sampling more would have bought: the best of n answers of the reference, by the reward.

Best-of-n needs no training: draw n answers, keep the one that the reward likes best. It is the
yardstick of Gao et al. 2022 (arXiv:2210.10760) for what reinforcement learning gains at a given
distance from the reference.

- Its expected reward is estimated without bias from N >= n answers to each prompt, as Nakano et al.
  2021 (arXiv:2112.09332, appendix I) do: the mean, over all subsets of n answers, of the largest.
  With the rewards sorted upwards, the i-th is the largest of C(i-1, n-1) of the C(N, n) subsets.
- Its distance: the KL divergence from the reference, of a whole answer, is at most
  log n - (n-1)/n nats. That is exact where no two answers are alike (Hilton and Gao 2022), and an
  upper bound for language models (Beirami et al. 2024, arXiv:2401.01879).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.policy import (
    preserve_rng_and_modes,
    sample_completions,
    score_completions,
)
from rlexp.evaluation.results import Evaluation, in_groups
from rlexp.evaluation.win_rate import WinRate, win_rate_by_reward
from rlexp.runtime.files import write_atomically
from rlexp.spec.eval import EvalSpec
from rlexp.spec.policy import PolicyLike
from rlexp.spec.reward import Scoring, Value


@dataclass(frozen=True)
class BestOfNSamples:
    """Rewards of N answers of the reference to each of the first prompts."""

    rewards: list[list[Value]]
    """A list of N for each prompt; None where missing."""

    def to_json(self, path: Path) -> None:
        """Write the rewards to a file, in one step; floats come back with the same bits."""
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, path: Path) -> BestOfNSamples:
        """Read what `to_json` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def complete(self) -> dict[int, list[float]]:
        """Return the prompts whose N answers all have a reward, by the prompt's index."""
        return {
            index: known
            for index, rewards in enumerate(self.rewards)
            if len(known := [reward for reward in rewards if reward is not None]) == len(rewards)
        }

    def control(self, first: Evaluation, resamples: int, seed: int) -> WinRate | None:
        """Set these against the same policy's first samples: the rate is 1/2 but for chance."""
        return win_rate_by_reward(first.rewards, self.rewards, resamples, seed)


@dataclass(frozen=True)
class BestOf:
    """The best of n answers of the reference."""

    n: int
    kl: float
    """Upper bound of its KL divergence from the reference, nats an answer."""
    reward: float
    """Expected reward."""
    low: float | None
    """Ends of its 95 % interval over the prompts."""
    high: float | None


def sample_best_of_n(
    policy: PolicyLike, rows: Sequence[dict[str, Any]], reward: Scoring, spec: EvalSpec
) -> BestOfNSamples:
    """Sample `spec.best_of` answers to each of the first `spec.best_of_prompts` framed rows.

    They are others than the evaluation's own. What the model does next is unchanged.
    """
    rows = rows[: min(spec.prompts, spec.best_of_prompts)]
    more = spec.model_copy(update={"completions": spec.best_of, "seed": spec.seed + 1})
    with preserve_rng_and_modes(policy.model):
        completions = list(chain.from_iterable(sample_completions(policy, rows, more)))
        asked = [row for row in rows for _ in range(spec.best_of)]
        total = score_completions(reward, asked, completions).total
    return BestOfNSamples([list(group) for group in in_groups(total, [spec.best_of] * len(rows))])


def best_of(samples: BestOfNSamples, resamples: int, seed: int) -> list[BestOf]:
    """Return best-of-n for n = 1, 2, 4, ... and N; none where no prompt has all its rewards."""
    groups = list(samples.complete().values())
    if not groups:
        return []
    most = len(groups[0])
    sizes = sorted({2**power for power in range(most.bit_length())} | {most})
    results = []
    for n in sizes:
        weights = largest_weights(n, most)
        values = [_weighted_sum(weights, rewards) for rewards in groups]
        ends = bootstrap_ratio(values, [1.0] * len(values), resamples, seed) or (None, None)
        results.append(BestOf(n, kl_bound(n), sum(values) / len(values), *ends))
    return results


def expected_best(rewards: Sequence[float], n: int) -> float:
    """Return the unbiased estimate of the expected largest of n rewards, from N >= n of them.

    >>> expected_best([1.0, 2.0, 3.0], 1), expected_best([1.0, 2.0, 3.0], 3)
    (2.0, 3.0)
    """
    return _weighted_sum(largest_weights(n, len(rewards)), rewards)


def largest_weights(n: int, most: int) -> list[float]:
    """Return, of `most` rewards sorted upwards, the share of subsets of n whose largest each is.

    Raises:
        ValueError: n is below 1 or above `most`.
    """
    if not 1 <= n <= most:
        raise ValueError(f"the best of n wants n from 1 to {most}, got {n}")
    subsets = math.comb(most, n)
    return [math.comb(below, n - 1) / subsets for below in range(most)]


def _weighted_sum(weights: Sequence[float], rewards: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(weights, sorted(rewards), strict=True))


def kl_bound(n: float) -> float:
    """Return an upper bound of best-of-n's KL divergence from the reference, nats an answer.

    >>> kl_bound(1), round(kl_bound(16), 3)
    (0.0, 1.835)
    """
    return math.log(n) - (n - 1) / n
