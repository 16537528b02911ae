"""95 % intervals of ratios, by the bootstrap over prompts (Efron 1979, percentile method).

Completions to one prompt resemble each other, so the prompt is what is resampled: resampling
single completions would promise intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

CONFIDENCE = 0.95
RESAMPLES_AT_ONCE = 100


def bootstrap_ratio(
    sums: Sequence[float], counts: Sequence[float], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Interval of `sum(sums) / sum(counts)`, both given a prompt; None for fewer than two."""
    return _bootstrap([sums, counts], lambda of, count: of / count, resamples, seed)


def bootstrap_change(
    before: tuple[Sequence[float], Sequence[float]],
    after: tuple[Sequence[float], Sequence[float]],
    resamples: int,
    seed: int,
    of: Callable[[Any], Any] = lambda ratio: ratio,
) -> tuple[float, float] | None:
    """Paired interval of `of(ratio after) - of(ratio before)`; None for fewer than two prompts.

    Each resample draws prompts, and takes both sides of those: what makes a prompt hard or easy is
    no part of the interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 8).

    Args:
        before, after: sums and counts, a prompt each.
        resamples, seed: of the bootstrap.
        of: from an array of ratios to what is compared.
    """

    def change(old: Any, old_count: Any, new: Any, new_count: Any) -> Any:
        return of(new / new_count) - of(old / old_count)

    return _bootstrap([*before, *after], change, resamples, seed)


def _bootstrap(
    columns: Sequence[Sequence[float]], statistic: Callable[..., Any], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Interval of a statistic of the columns' sums; rows are drawn together."""
    if len(columns[0]) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    def of_sums(*drawn: Any, axis: int) -> Any:
        return statistic(*(np.sum(each, axis=axis) for each in drawn))

    interval = bootstrap(
        tuple(np.asarray(each, dtype=float) for each in columns),
        of_sums,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=RESAMPLES_AT_ONCE,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
