"""Is one run better than another on the prompts that both were evaluated on?

Runs are paired by prompt: what counts is, for each prompt, the difference of the two runs' mean
over their completions. Pairing takes away what makes prompts hard or easy, which is most of the
noise. The interval is a bootstrap over prompts (as everywhere in rlexp), the test flips signs:
were the runs alike, each difference might as well have had the other sign (Fisher 1935; Good 2005,
Permutation, Parametric and Bootstrap Tests of Hypotheses, ch. 3). Several runs against one are
corrected as in Holm 1979.

The test speaks of trained models. Whether a setting is better, rather than one training with it,
takes several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlexp.evaluation.bootstrap import bootstrap_ratio

RESAMPLES = 2000
"""Of the bootstrap, as on the cards of runs."""
FLIPS = 10_000
"""Draws of signs: p-values below 0.0001 cannot be told from it."""
SIGNIFICANT = 0.05
_AT_ONCE = 1000

Means = Mapping[Any, float]
"""Each prompt's mean over its completions."""


@dataclass(frozen=True)
class Paired:
    """A run against the first one on the prompts that they share."""

    prompts: int
    difference: float
    """Mean over prompts of this run's mean minus the first one's."""
    low: float
    """Ends of its 95 % interval."""
    high: float
    p: float
    """Two-sided; corrected for the number of runs."""
    higher: float
    """Share of prompts on which this run's mean is higher; ties count half. For a reward it is the
    win rate."""
    higher_low: float
    """Ends of the 95 % interval of this share."""
    higher_high: float

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT


def paired_test(first: Means, other: Means, seed: int = 0) -> Paired | None:
    """Return two runs against each other; None where fewer than two prompts are finite in both."""
    shared = [prompt for prompt in first if math.isfinite(other.get(prompt, math.nan))]
    deltas = [other[prompt] - first[prompt] for prompt in shared if math.isfinite(first[prompt])]
    ones = [1.0] * len(deltas)
    ends = bootstrap_ratio(deltas, ones, RESAMPLES, seed)
    if ends is None:
        return None
    higher = [0.5 if delta == 0 else float(delta > 0) for delta in deltas]
    higher_ends = bootstrap_ratio(higher, ones, RESAMPLES, seed)
    assert higher_ends is not None  # as many prompts as above
    return Paired(
        prompts=len(deltas),
        difference=sum(deltas) / len(deltas),
        low=ends[0],
        high=ends[1],
        p=sign_flip_p(deltas, seed),
        higher=sum(higher) / len(higher),
        higher_low=higher_ends[0],
        higher_high=higher_ends[1],
    )


def sign_flip_p(deltas: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value that the mean is 0; exact for up to 13 differences.

    The same as scipy's `permutation_test` of one sample, thirty times as fast.
    """
    import numpy as np

    values = np.asarray(deltas, dtype=float)
    count = len(values)
    exact = 2**count <= FLIPS
    if exact:
        codes = np.arange(2**count)[:, None] >> np.arange(count)
        signs = [1 - 2 * (codes & 1)]
    else:
        random = np.random.default_rng(seed)
        signs = (
            1 - 2 * random.integers(0, 2, (_AT_ONCE, count), dtype=np.int8)
            for _ in range(FLIPS // _AT_ONCE)
        )
    rounding = 1e-12 * np.abs(values).sum()  # sums that are equal but for their last bits
    least = abs(values.sum()) - rounding
    as_far = sum(int(np.count_nonzero(np.abs(draws @ values) >= least)) for draws in signs)
    # One of the draws are the data's own signs: Phipson and Smyth 2010, doi:10.2202/1544-6115.1585.
    return as_far / 2**count if exact else (as_far + 1) / (FLIPS + 1)


def against_first(runs: Sequence[Means]) -> list[Paired | None]:
    """Test each run against the first, p-values corrected for their number; None for the first."""
    results = [paired_test(runs[0], run) for run in runs[1:]]
    corrected = iter(holm([result.p for result in results if result]))
    return [None, *(replace(pair, p=next(corrected)) if pair else None for pair in results)]


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979, Scand. J. Statist. 6:65), in the same order.

    >>> holm([0.04, 0.01, 0.5])
    [0.08, 0.03, 0.5]
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected
