"""From the values of terms to one number a completion.

The total is the sum of weight x value over the terms, where a value is normalised first and clipped
then, and where a term whose gate is shut adds nothing. Gates look at values as the terms gave them.

**What is missing.** In training a missing value is taken to be the mean of the term's values that
are there for the same prompt, so that it pushes in neither direction where answers are compared
with their siblings (GRPO, RLOO); where none is there, that of the batch (over all processes); and
where none is there either, the term is left out of the batch. Where the value that a gate looks at
is missing, the term adds the mean, over the same answers, of what it adds where the gate is known.
An evaluation invents nothing: a completion of which something is missing that counts has no total.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from rlexp.spec.reward import Term, Value

Scale = Callable[[float], float]
Values = Mapping[str, list[Value]]


def weighted_total(
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    scales: Mapping[str, Scale],
    values: Values,
    *,
    groups: Sequence[Value] | None,
) -> list[Value]:
    """The total of each of n completions.

    Args:
        terms: by name.
        weights: of each term, at this step.
        scales: what normalises each term's values.
        values: (n,) of each term.
        groups: (n,) numbers, the same for completions of one prompt: missing values count as the
            mean of those that are there. Without groups their completions have no total.
    """
    parts = [
        _part(term, weights[name], scales[name], values[name], _gate(term, values), groups)
        for name, term in terms.items()
    ]
    return [
        None if None in row else math.fsum(part for part in row if part is not None)
        for row in zip(*parts, strict=True)
    ]


def present(values: list[Value]) -> list[float]:
    """Those that are not missing."""
    return [value for value in values if value is not None]


def _part(
    term: Term,
    weight: float,
    scale: Scale,
    values: list[Value],
    gate: list[bool | None],
    groups: Sequence[Value] | None,
) -> list[Value]:
    """What a term adds to each total."""
    if weight == 0:
        return [0.0] * len(values)
    scaled = [None if value is None else _clipped(scale(value), term.clip) for value in values]
    if groups is not None:
        scaled = _filled(scaled, groups)
    added = [_added(weight, value, open_) for value, open_ in zip(scaled, gate, strict=True)]
    return added if groups is None else _filled(added, groups)


def _added(weight: float, value: Value, open_: bool | None) -> Value:
    if open_ is False:
        return 0.0
    return None if value is None or open_ is None else weight * value


def _filled(values: list[Value], groups: Sequence[Value]) -> list[Value]:
    known = present(values)
    if len(known) == len(values):
        return values
    of_group: dict[Value, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            of_group.setdefault(group, []).append(value)
    return [
        fmean(of_group.get(group) or known or [0.0]) if value is None else value
        for value, group in zip(values, groups, strict=True)
    ]


def _clipped(value: float, bounds: tuple[float, float] | None) -> float:
    return value if bounds is None else min(max(value, bounds[0]), bounds[1])


def _gate(term: Term, values: Values) -> list[bool | None]:
    """For each completion whether the term counts; None where that is not known."""
    count = len(next(iter(values.values())))
    return [_open([(values[n][i], least) for n, least in term.needs.items()]) for i in range(count)]


def _open(needed: list[tuple[Value, float]]) -> bool | None:
    if any(value is not None and value < least for value, least in needed):
        return False
    return None if any(value is None for value, _ in needed) else True
