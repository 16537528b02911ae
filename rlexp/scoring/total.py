"""From the values of terms to one number a completion.

The total is the sum of weight x value over the terms, where a value is normalised first and clipped
then, and where a term whose gate is shut adds nothing. Gates look at values as the terms gave them.
A term that is normalised within its group is 0 there before that, as GDPO has conditioned rewards
(arXiv:2601.05242): answers that miss the condition must not stand at the group's mean.

**What is missing.** In training a missing value is taken to be the mean of the term's values that
are there for the same prompt, so that it pushes in neither direction where answers are compared
with their siblings (GRPO, RLOO); where none is there, that of the batch (over all processes); and
where none is there either, the term is left out of the batch. Where the value that a gate looks at
is missing, the term adds the mean, over the same answers, of what it adds where the gate is known.
An evaluation invents nothing: a completion of which something is missing that counts has no total.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from rlexp.scoring.scales import Scale
from rlexp.spec.reward import Term, Value

Values = Mapping[str, list[Value]]


def weighted_total(
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    scales: Mapping[str, Scale],
    values: Values,
    *,
    groups: Sequence[Value] | None,
) -> list[Value]:
    """Return the total of each of n completions; values are (n,) of each term.

    Groups are (n,) numbers, the same for completions of one prompt: missing values count as the
    mean of those that are there. Without groups their completions have no total.
    """
    contributions = [
        _contribution(term, weights[name], scales[name], values[name], _gate(term, values), groups)
        for name, term in terms.items()
    ]
    return [
        None if None in row else math.fsum(part for part in row if part is not None)
        for row in zip(*contributions, strict=True)
    ]


def present(values: list[Value]) -> list[float]:
    """Return the values that are not missing."""
    return [value for value in values if value is not None]


def _contribution(
    term: Term,
    weight: float,
    scale: Scale,
    values: list[Value],
    gate: list[bool | None],
    groups: Sequence[Value] | None,
) -> list[Value]:
    """Return what a term adds to each total."""
    # A term without weight adds nothing, also where its value is missing.
    if weight == 0:
        return [0.0] * len(values)
    if term.normalize == "group":
        values = [_gated(1.0, value, is_open) for value, is_open in zip(values, gate, strict=True)]
        gate = [True] * len(gate)
    # scale, clip
    scaled = [None if value is None else _clipped(value, term.clip) for value in scale(values)]
    # missing values, in training: before the gate, which may make a 0 of what is filled in
    if groups is not None:
        scaled = _filled(scaled, groups)
    # gate and weight
    gated = [_gated(weight, value, is_open) for value, is_open in zip(scaled, gate, strict=True)]
    # gates that are not known, in training: the mean of what the term adds elsewhere
    return gated if groups is None else _filled(gated, groups)


def _gated(weight: float, value: Value, is_open: bool | None) -> Value:
    if is_open is False:
        return 0.0
    return None if value is None or is_open is None else weight * value


def _filled(values: list[Value], groups: Sequence[Value]) -> list[Value]:
    """Return the values with the mean of their group, or of all, where one is missing."""
    known = present(values)
    if len(known) == len(values):
        return values
    by_group: dict[Value, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            by_group.setdefault(group, []).append(value)
    return [
        fmean(by_group.get(group) or known or [0.0]) if value is None else value
        for value, group in zip(values, groups, strict=True)
    ]


def _clipped(value: float, bounds: tuple[float, float] | None) -> float:
    return value if bounds is None else min(max(value, bounds[0]), bounds[1])


def _gate(term: Term, values: Values) -> list[bool | None]:
    """Return for each completion whether the term counts; None where that is not known."""
    gate: list[bool | None] = [True] * len(next(iter(values.values())))
    for name, least in term.needs.items():
        for index, value in enumerate(values[name]):
            # One value that is too low shuts the gate, whatever the missing ones are.
            if value is not None and value < least:
                gate[index] = False
            elif value is None and gate[index]:
                gate[index] = None
    return gate
