"""95 % intervals of ratios, by the bootstrap over prompts (Efron 1979, percentile method).

Completions to one prompt resemble each other, so the prompt is what is resampled: resampling
single completions would promise intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES_AT_ONCE = 100
LARGEST_BATCH = 2_000_000
"""Weights of items that are in memory at once."""


def bootstrap_ratio(
    sums: Sequence[float], counts: Sequence[float], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of sums over counts, a prompt each; None for fewer than two."""
    return bootstrap_sums([sums, counts], lambda total, count: total / count, resamples, seed)


def bootstrap_change(
    before: tuple[Sequence[float], Sequence[float]],
    after: tuple[Sequence[float], Sequence[float]],
    resamples: int,
    seed: int,
    transform: Callable[[NDArray], NDArray] = lambda ratio: ratio,
) -> tuple[float, float] | None:
    """Return the paired 95 % interval of a change of a transformed ratio; None for fewer than two.

    Sums and counts are a prompt's each. Each resample draws prompts, and takes both sides of those:
    what makes a prompt hard or easy is no part of the interval (Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, ch. 8).
    """

    def change(old: NDArray, old_count: NDArray, new: NDArray, new_count: NDArray) -> NDArray:
        return transform(new / new_count) - transform(old / old_count)

    return bootstrap_sums([*before, *after], change, resamples, seed)


def bootstrap_items(
    items: int, statistic: Callable[[NDArray], NDArray], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of a statistic that is no ratio; None for fewer than two items.

    Args:
        items: what is resampled.
        statistic: from weights, (resamples, items), the number of times that each was drawn, to a
            value a resample, (resamples,).
        resamples: how many.
        seed: of the drawing.
    """
    if items < 2:
        return None
    import numpy as np

    def of_draws(drawn: NDArray, axis: int) -> NDArray:
        rows = drawn.reshape(-1, items) + items * np.arange(drawn.size // items)[:, None]
        weights = np.bincount(rows.ravel(), minlength=drawn.size).reshape(-1, items)
        return statistic(weights.astype(float)).reshape(drawn.shape[:-1])

    batch = max(1, min(RESAMPLES_AT_ONCE, LARGEST_BATCH // items))
    return _percentiles((np.arange(items),), of_draws, resamples, seed, batch)


def bootstrap_sums(
    columns: Sequence[Sequence[float]], statistic: Callable[..., NDArray], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of a statistic of the columns' sums; None for fewer than two rows.

    Rows are drawn together. The statistic gets an array a column, of each resample's sum.
    """
    if len(columns[0]) < 2:
        return None
    import numpy as np

    def of_sums(*drawn: NDArray, axis: int) -> NDArray:
        return statistic(*(np.sum(column, axis=axis) for column in drawn))

    arrays = tuple(np.asarray(column, dtype=float) for column in columns)
    return _percentiles(arrays, of_sums, resamples, seed, RESAMPLES_AT_ONCE)


def _percentiles(
    columns: tuple[NDArray, ...],
    statistic: Callable[..., NDArray],
    resamples: int,
    seed: int,
    batch: int,
) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import bootstrap

    interval = bootstrap(
        columns,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=batch,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
