"""95 % intervals of ratios, by the bootstrap over prompts (Efron 1979, percentile method).

Completions to one prompt resemble each other, so the prompt is what is resampled: resampling
single completions would promise intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONFIDENCE = 0.95
RESAMPLES_AT_ONCE = 100


def bootstrap_ratio(
    sums: Sequence[float], counts: Sequence[float], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Interval of `sum(sums) / sum(counts)`, both given a prompt; None for fewer than two."""
    if len(sums) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    def ratio(sums: Any, counts: Any, axis: int) -> Any:
        return np.sum(sums, axis=axis) / np.sum(counts, axis=axis)

    interval = bootstrap(
        (np.asarray(sums, dtype=float), np.asarray(counts, dtype=float)),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=RESAMPLES_AT_ONCE,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
