"""Agreement of several people on the same items, beyond what chance would give.

Each measure here is a function of the items' weights, of shape (resamples, items): with ones it is
the measure itself, with the number of times that a resample drew each item it is the bootstrap's.
Its value is nan where it is not defined: no item was judged twice, or all verdicts are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlexp.evaluation.bootstrap import bootstrap_items

if TYPE_CHECKING:
    from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval"]
Statistic = Callable[["NDArray"], "NDArray"]

TENTATIVE, RELIABLE = 0.667, 0.8
"""Alpha below which Krippendorff (2004, Content Analysis, ch. 11) draws no conclusions, and below
which they are tentative."""

ROUNDING = 1e-9
"""Share of a sum of squares below which a difference of such sums is 0."""


@dataclass(frozen=True)
class Agreement:
    """One measure, and how sure it is."""

    measure: str
    value: float | None
    """None where it is not defined."""
    interval: tuple[float, float] | None
    """95 %, by the bootstrap over items."""
    items: int
    """Those that at least two people judged."""


def measured(
    measure: str, statistic: Statistic, items: int, judged_twice: int, resamples: int, seed: int
) -> Agreement:
    """Return a measure with its interval over items.

    Resamples in which nobody differs count as 0: reliability cannot be shown by verdicts that do
    not vary (Krippendorff 2004).
    """
    (value,) = statistic(np.ones((1, items))) if judged_twice else (np.nan,)
    if not np.isfinite(value):
        return Agreement(measure, None, None, judged_twice)
    interval = bootstrap_items(
        items, lambda weights: np.nan_to_num(statistic(weights)), resamples, seed
    )
    return Agreement(measure, float(value), interval, judged_twice)


def count_table(
    items: Sequence[int], values: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many verdicts of each value each item has, (items, categories), and the values.

    Args:
        items: each verdict's item, numbered from 0.
        values: each verdict's value.
    """
    categories, places = np.unique(np.asarray(values, dtype=float), return_inverse=True)
    counts = np.zeros((max(items, default=-1) + 1, len(categories)), dtype=np.int64)
    np.add.at(counts, (np.asarray(items, dtype=np.int64), places), 1)
    return counts, categories


def observed_agreement(counts: NDArray) -> Statistic:
    """Return the share of pairs of verdicts on one item that are equal, a mean over items.

    Args:
        counts: verdicts of each value, (items, categories).
    """
    shares, several = _agreeing_shares(counts)

    def statistic(weights: NDArray) -> NDArray:
        return _divide(weights @ shares, weights @ several)

    return statistic


def fleiss_kappa(counts: NDArray) -> Statistic:
    """Return Fleiss' kappa (1971, Psychological Bulletin 76); for two people, Scott's pi (1955).

    Where items have different numbers of verdicts it is Gwet's form of it (2014, Handbook of
    Inter-Rater Reliability, ch. 3): agreement is a mean over items with two or more, chance is that
    of the categories' mean shares over all items.

    Args:
        counts: verdicts of each value, (items, categories).
    """
    agreement = observed_agreement(counts)
    totals = counts.sum(axis=1)
    categories = counts / np.maximum(totals, 1)[:, None]

    def statistic(weights: NDArray) -> NDArray:
        shares = weights @ categories / (weights @ (totals > 0))[:, None]
        chance = np.square(shares).sum(axis=1)
        return _divide(agreement(weights) - chance, 1 - chance)

    return statistic


def krippendorff_alpha(counts: NDArray, values: NDArray, level: Level) -> Statistic:
    """Return Krippendorff's alpha for any number of people and missing verdicts.

    That is 1 - observed / expected disagreement over the coincidences of verdicts (Krippendorff
    2011, Computing Krippendorff's Alpha-Reliability). Values differ by 0 or 1 (nominal), by their
    squared distance (interval), or by that of their middle ranks (ordinal), which equals the sum of
    the ranks between them.

    Args:
        counts: verdicts of each value, (items, categories).
        values: of the categories, in ascending order, (categories,).
        level: of measurement.
    """
    item, first, second, part = _coincidences(counts)
    pairable = counts * (counts.sum(axis=1, keepdims=True) > 1)

    def statistic(weights: NDArray) -> NDArray:
        frequencies = weights @ pairable
        total = frequencies.sum(axis=1)
        if level == "nominal":
            distances = np.broadcast_to(first != second, (len(weights), len(first)))
            expected = np.square(total) - np.square(frequencies).sum(axis=1)
        else:
            ranks = np.cumsum(frequencies, axis=1) - frequencies / 2
            scale = ranks if level == "ordinal" else np.broadcast_to(values, frequencies.shape)
            distances = np.square(scale[:, first] - scale[:, second])
            squares = total * (frequencies * np.square(scale)).sum(axis=1)
            expected = 2 * (squares - np.square((frequencies * scale).sum(axis=1)))
            expected *= expected > ROUNDING * squares
        observed = (weights[:, item] * part * distances).sum(axis=1)
        return 1 - _divide(observed * (total - 1), expected)

    return statistic


def cohen_kappa(
    items: Sequence[int],
    first: Sequence[float],
    second: Sequence[float],
    *,
    squared: bool = False,
) -> Statistic:
    """Return Cohen's kappa of two people (1960, Educational and Psychological Measurement 20).

    Args:
        items: the item of each pair of verdicts.
        first: one side's verdicts.
        second: the other side's, of the same length; several people may stand on it.
        squared: whether disagreement counts by its squared distance (Cohen 1968, Psychological
            Bulletin 70), or is simply there.
    """
    item = np.asarray(items, dtype=np.int64)
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    categories = np.unique(np.concatenate([one, other]))
    mine, theirs = (side[:, None] == categories for side in (one, other))

    def statistic(weights: NDArray) -> NDArray:
        drawn = weights[:, item]
        total = drawn.sum(axis=1)
        if squared:
            observed = drawn @ np.square(one - other)
            means = _divide((drawn @ one) * (drawn @ other), total)
            squares = drawn @ np.square(one) + drawn @ np.square(other)
            expected = squares - 2 * means
            expected *= expected > ROUNDING * squares
        else:
            observed = drawn @ (one != other)
            matches = ((drawn @ mine) * (drawn @ theirs)).sum(axis=1)
            expected = total - _divide(matches, total)
        return 1 - _divide(observed, expected)

    return statistic


def _agreeing_shares(counts: NDArray) -> tuple[NDArray, NDArray]:
    """Return each item's share of equal pairs, and whether it has pairs at all."""
    totals = counts.sum(axis=1)
    pairs = totals * (totals - 1)
    equal = (counts * (counts - 1)).sum(axis=1)
    return equal / np.maximum(pairs, 1), (pairs > 0).astype(float)


def _coincidences(counts: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return ordered pairs of different values that meet on an item: item, values, and weight.

    A pair of verdicts on an item with m of them weighs 1 / (m - 1); equal values lie no distance
    apart and are left out.
    """
    item, first = np.nonzero(counts)
    starts = np.searchsorted(item, np.arange(len(counts) + 1))
    sizes = np.diff(starts)
    left = np.repeat(np.arange(len(item)), sizes[item])
    offsets = np.arange(len(left)) - np.repeat(np.cumsum(sizes[item]) - sizes[item], sizes[item])
    right = starts[item[left]] + offsets
    unlike = left != right
    left, right = left[unlike], right[unlike]
    place, one, other = item[left], first[left], first[right]
    times = counts[place, one] * counts[place, other]
    return place, one, other, times / np.maximum(counts.sum(axis=1)[place] - 1, 1)


def _divide(numerator: NDArray, denominator: NDArray) -> NDArray:
    """Return the quotient, nan where the denominator is 0 or as good as that."""
    nothing = np.abs(denominator) < 1e-12
    return np.where(nothing, np.nan, numerator / np.where(nothing, 1, denominator))
