"""Do two rewards put the same completions in the same order?

What a reward model is worth to a policy is not how it orders the pairs that it was trained on, but
the policy's own answers, which move away from those as it is optimised (Gao et al. 2022,
arXiv:2210.10760). Counted are pairs of completions to one prompt of which the second reward, the
gold one, prefers one. As answers become more alike pairs are closer, and agreement falls for
that alone: the spread of the gold reward within prompts tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from rlexp.evaluation.bootstrap import bootstrap_ratio, bootstrap_sums
from rlexp.evaluation.changes import Change, change
from rlexp.evaluation.results import Ratio
from rlexp.evaluation.win_rate import Rewards
from rlexp.spec.reward import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RewardAgreement:
    """How far a reward orders completions as the gold reward does."""

    pairs: int
    """Pairs of completions to one prompt of which the gold reward prefers one."""
    rate: float
    """Share of them that both order alike; where only the other ties it counts half."""
    low: float | None
    """Ends of its 95 % interval over the prompts."""
    high: float | None
    spearman: float | None
    """Rank correlation over all completions; None where one of the rewards never differs."""
    spearman_low: float | None
    """Ends of its 95 % interval over the prompts, the ranks held."""
    spearman_high: float | None
    spread: float
    """Standard deviation of the gold reward within a prompt, the mean over prompts."""

    @property
    def kendall(self) -> float:
        """Kendall's tau within prompts: what agrees minus what does not, of all pairs."""
        return 2 * self.rate - 1


def agreement(reward: Rewards, gold: Rewards, resamples: int, seed: int) -> RewardAgreement | None:
    """Return how far two rewards of the same completions agree; None where gold never differs."""
    above, below = agreeing_pairs(reward, gold)
    known = [(agreeing, pairs) for agreeing, pairs in zip(above, below, strict=True) if pairs]
    if not known:
        return None
    agreeing, pairs = zip(*known, strict=True)
    ends = bootstrap_ratio(agreeing, pairs, resamples, seed)
    spreads = [pstdev(values) for group in gold if (values := [v for v in group if v is not None])]
    return RewardAgreement(
        int(sum(pairs)),
        sum(agreeing) / sum(pairs),
        *(ends or (None, None)),
        *_spearman(reward, gold, resamples, seed),
        spread=fmean(spreads),
    )


def agreement_change(
    before: tuple[Rewards, Rewards], after: tuple[Rewards, Rewards], resamples: int, seed: int
) -> Change | None:
    """Return the change of the rate between two evaluations of the same prompts, in one order."""
    first, second = agreeing_pairs(*before), agreeing_pairs(*after)
    return change("agreement", first, second, resamples, seed)


def agreeing_pairs(reward: Rewards, gold: Rewards) -> Ratio:
    """Return, for each prompt, the pairs that both order alike, and those that gold orders.

    >>> agreeing_pairs([[1.0, 2.0, 2.0]], [[0.0, 3.0, 1.0]])
    ([2.5], [3.0])
    """
    agreeing, pairs = [], []
    for group in zip(reward, gold, strict=True):
        both = _known(*group)
        ordered = [(a, b) for a, b in combinations(both, 2) if a[1] != b[1]]
        signs = [(a[0] - b[0]) * (1 if a[1] > b[1] else -1) for a, b in ordered]
        agreeing.append(sum(0.5 if sign == 0 else float(sign > 0) for sign in signs))
        pairs.append(float(len(ordered)))
    return agreeing, pairs


def _known(reward: Sequence[Value], gold: Sequence[Value]) -> list[tuple[float, float]]:
    pairs = zip(reward, gold, strict=True)
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _spearman(
    reward: Rewards, gold: Rewards, resamples: int, seed: int
) -> tuple[float | None, float | None, float | None]:
    import numpy as np
    from scipy.stats import rankdata

    groups = [_known(*group) for group in zip(reward, gold, strict=True)]
    sizes = [len(group) for group in groups if group]
    ranks = [
        rankdata(column)
        for column in zip(*(pair for group in groups for pair in group), strict=True)
    ]
    if any(np.ptp(column) == 0 for column in ranks):
        return None, None, None
    x, y = ((column - column.mean()) / column.std() for column in ranks)
    parts = (np.ones_like(x), x, y, x * x, y * y, x * y)
    starts = np.cumsum([0, *sizes[:-1]])
    columns = [np.add.reduceat(part, starts).tolist() for part in parts]

    def correlation(n: NDArray, x: NDArray, y: NDArray, *products: NDArray) -> NDArray:
        xx, yy, xy = products
        scale = np.sqrt((n * xx - x * x) * (n * yy - y * y))
        return np.divide(n * xy - x * y, scale, out=np.zeros_like(scale), where=scale > 0)

    low, high = bootstrap_sums(columns, correlation, resamples, seed) or (None, None)
    return float((x * y).mean()), low, high
