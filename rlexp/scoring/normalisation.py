"""A term's values on a scale that does not depend on the term.

- `zscore`: distance from the mean in standard deviations. In training both are those of all values
  since the start, the batch's own included (Chan, Golub & LeVeque 1983, "Algorithms for Computing
  the Sample Variance", who merge two parts exactly), so that the scale settles and the policy's
  progress stays visible.
- `rank`: share of the others below minus share above, from -1 to 1; the order counts alone. In
  training the others are the batch.
- `group`: distance from the mean of the answers to the same prompt, in their standard deviations
  (GDPO, Liu et al. 2026, arXiv:2601.05242). The total is then whitened over the batch, so that its
  size does not depend on how many terms there are.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rlexp.spec.reward import Value

EPSILON = 1e-8
"""Added to a standard deviation: values that differ by their rounding alone stay next to 0."""

GROUP_EPSILON = 1e-4
"""The same within groups: above the rounding of values that are alike, which whitening must not
blow up again."""


@dataclass(frozen=True)
class Moments:
    """Count, mean, and sum of squared distances from the mean, of the values seen so far."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        """Return the moments of some values; their order does not matter, to the last bit.

        >>> Moments.of([1.0, 2.0, 6.0])
        Moments(count=3, mean=3.0, squares=14.0)
        """
        if not values:
            return cls()
        mean = math.fsum(values) / len(values)
        return cls(len(values), mean, math.fsum((value - mean) ** 2 for value in values))

    def updated(self, values: Sequence[float]) -> Moments:
        """Return the moments of the values so far and some more.

        >>> Moments.of([1.0, 2.0]).updated([6.0])
        Moments(count=3, mean=3.0, squares=14.0)
        """
        other = Moments.of(values)
        if not other.count or not self.count:
            return other if other.count else self
        count, delta = self.count + other.count, other.mean - self.mean
        mean = self.mean + delta * other.count / count
        squares = self.squares + other.squares + delta * delta * self.count * other.count / count
        return Moments(count, mean, squares)

    def zscore(self, value: float) -> float:
        """Return the distance of a value from the mean in standard deviations of the population.

        >>> two, same = Moments.of([1.0, 3.0]), Moments.of([0.1, 0.1, 0.1])
        >>> round(two.zscore(4.0), 6), round(same.zscore(0.1), 6)
        (2.0, -0.0)
        """
        deviation = math.sqrt(self.squares / self.count) if self.count else 0.0
        return (value - self.mean) / (deviation + EPSILON)


def rank(value: float, ordered: Sequence[float]) -> float:
    """Return the share of some values, ascending, that are below minus the share that are above.

    >>> [rank(value, [1.0, 2.0, 2.0, 5.0]) for value in (1.0, 2.0, 9.0)]
    [-0.75, 0.0, 1.0]
    """
    below = bisect_left(ordered, value)
    above = len(ordered) - bisect_right(ordered, value)
    return (below - above) / len(ordered)


def normalised_in_groups(values: Sequence[Value], groups: Sequence[Value]) -> list[Value]:
    """Return (n,) distances from the mean of a value's group in its sample standard deviations.

    GDPO (arXiv:2601.05242), equation 4. A missing value stays missing, and is not counted.

    >>> spread = normalised_in_groups([0.0, 2.0, 5.0, 5.0], [7.0, 7.0, 8.0, 8.0])
    >>> [round(value, 3) for value in spread]
    [-0.707, 0.707, 0.0, 0.0]
    """
    known: dict[Value, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            known[group].append(value)
    moments = {group: Moments.of(members) for group, members in known.items()}
    return [
        None if value is None else (value - moments[group].mean) / _sample_deviation(moments[group])
        for value, group in zip(values, groups, strict=True)
    ]


def whitened(totals: Sequence[float]) -> list[float]:
    """Return (n,) totals of a whole batch with mean 0 and sample standard deviation 1.

    GDPO (arXiv:2601.05242), equation 6.

    >>> [round(value, 3) for value in whitened([0.0, 0.0, 3.0])]
    [-0.577, -0.577, 1.155]
    """
    moments = Moments.of(totals)
    deviation = _sample_deviation(moments)
    return [(total - moments.mean) / deviation for total in totals]


def _sample_deviation(moments: Moments) -> float:
    return math.sqrt(moments.squares / max(moments.count - 1, 1)) + GROUP_EPSILON
