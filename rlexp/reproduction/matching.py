"""Metric by metric: equal bit for bit, or how far apart and from which step on."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlexp.reproduction.recorded import Points

Verdict = Literal["exactly", "closely", "differs"]

CLOSE = 1e-6
"""Largest relative difference that is still called close: some roundings of 32-bit floats."""


@dataclass(frozen=True)
class Match:
    """One metric of the two runs."""

    name: str
    points: int
    """Steps at which both have a value."""
    parted: int | None
    """The first step at which they are not the same, or at which one has no value; None: never."""
    absolute: float
    """Largest difference |a - b|."""
    relative: float
    """Largest |a - b| / max(|a|, |b|)."""
    missing: int
    """Steps at which one run alone has a value."""

    @property
    def verdict(self) -> Verdict:
        if self.parted is None:
            return "exactly"
        return "closely" if not self.missing and self.relative <= CLOSE else "differs"


def match(name: str, then: Points, now: Points, *, whole: bool) -> Match:
    """Compare one metric's points.

    Args:
        name: the metric.
        then: of the recorded run.
        now: of the new one.
        whole: whether the recorded run came to its end; what the new one has beyond a run that was
            cut short is no difference.
    """
    steps = then.keys() | now.keys() if whole else then.keys()
    both = then.keys() & now.keys()
    pairs = {step: (_stored(then[step]), _stored(now[step])) for step in both}
    unequal = {step for step, (a, b) in pairs.items() if not (a == b or (a != a and b != b))}
    parted = unequal | (steps - both)
    differences = [abs(a - b) for a, b in (pairs[step] for step in unequal)]
    shares = [_share(*pairs[step]) for step in unequal]
    return Match(
        name=name,
        points=len(both),
        parted=min(parted, default=None),
        absolute=max(map(_or_infinite, differences), default=0.0),
        relative=max(map(_or_infinite, shares), default=0.0),
        missing=len(steps - both),
    )


def compare_metrics(then: dict[str, Points], now: dict[str, Points], *, whole: bool) -> list[Match]:
    """Every metric of the two runs, those that part first at the top."""
    names = sorted(then.keys() | now.keys() if whole else then.keys())
    found = [match(name, then.get(name, {}), now.get(name, {}), whole=whole) for name in names]
    return sorted(found, key=lambda each: math.inf if each.parted is None else each.parted)


def verdict(matches: Sequence[Match]) -> Verdict:
    """Of a whole run: that of its worst metric. A run without metrics was not reproduced."""
    found = {each.verdict for each in matches} or {"differs"}
    return "differs" if "differs" in found else "closely" if "closely" in found else "exactly"


def _stored(value: float) -> float:
    """An infinity as MLflow stores it: the largest number."""
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


def _share(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b))


def _or_infinite(value: float) -> float:
    """NaN on one side alone is as far as can be."""
    return math.inf if math.isnan(value) else value
