"""Metric by metric: equal bit for bit, or how far apart and from which step on."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rlexp.reproduction.recorded import Points

Verdict = Literal["exactly", "closely", "differs"]

CLOSE = 1e-6
"""Largest relative difference that is still called close: some roundings of 32-bit floats."""


@dataclass(frozen=True)
class Match:
    """Comparison of one metric of the two runs; a difference is |a - b|."""

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
        """How well this metric was reproduced."""
        if self.parted is None:
            return "exactly"
        return "closely" if not self.missing and self.relative <= CLOSE else "differs"


def match_metric(name: str, recorded: Points, new: Points, *, whole: bool) -> Match:
    """Return the comparison of one metric's points in the recorded run and in the new one.

    Where the recorded run was cut short, so that it is not `whole`, what the new one has beyond it
    is no difference.
    """
    steps = recorded.keys() | new.keys() if whole else recorded.keys()
    common = recorded.keys() & new.keys()
    pairs = {step: (_stored(recorded[step]), _stored(new[step])) for step in common}
    # NaN on both sides is the same value.
    unequal = {step for step, (a, b) in pairs.items() if not (a == b or (a != a and b != b))}
    parted = unequal | (steps - common)
    absolute = [abs(a - b) for a, b in (pairs[step] for step in unequal)]
    relative = [abs(a - b) / max(abs(a), abs(b)) for a, b in (pairs[step] for step in unequal)]
    return Match(
        name=name,
        points=len(common),
        parted=min(parted, default=None),
        absolute=max(map(_nan_as_infinity, absolute), default=0.0),
        relative=max(map(_nan_as_infinity, relative), default=0.0),
        missing=len(steps - common),
    )


def compare_metrics(
    recorded: dict[str, Points], new: dict[str, Points], *, whole: bool
) -> list[Match]:
    """Return the comparison of every metric of the two runs; those that part first come first."""
    names = sorted(recorded.keys() | new.keys() if whole else recorded.keys())
    matches = [
        match_metric(name, recorded.get(name, {}), new.get(name, {}), whole=whole) for name in names
    ]
    return sorted(matches, key=lambda match: math.inf if match.parted is None else match.parted)


def overall_verdict(matches: Sequence[Match]) -> Verdict:
    """Return the verdict of the worst metric; a run without metrics was not reproduced."""
    verdicts: set[Verdict] = {match.verdict for match in matches} or {"differs"}
    return max(verdicts, key=get_args(Verdict).index)


def _stored(value: float) -> float:
    """Return an infinity as MLflow stores it: the largest number."""
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


def _nan_as_infinity(difference: float) -> float:
    """Return a difference; NaN, on one side alone, is as far as can be."""
    return math.inf if math.isnan(difference) else difference
