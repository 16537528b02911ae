"""From a term's `normalize` to what puts a column of its values on that scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rlexp.scoring.normalisation import Moments, rank
from rlexp.spec.reward import Term, Value

Scale = Callable[[list[Value]], list[Value]]
"""From all values of a term in a batch to those on its scale."""


def as_they_are(values: list[Value]) -> list[Value]:
    """Return the values: the scale `none`."""
    return values


def scale_of(term: Term, reference: list[float], moments: Moments | None = None) -> Scale:
    """Return what normalises a term's values: by `moments` where given, else by `reference`."""
    if term.normalize in ("zscore", "group"):
        return _of_each((moments or Moments.of(reference)).zscore)
    if term.normalize == "rank":
        ordered = sorted(reference)
        return _of_each(lambda value: rank(value, ordered))
    return as_they_are


def _of_each(function: Callable[[float], float]) -> Scale:
    return lambda values: [None if value is None else function(value) for value in values]


def unscaled(terms: Mapping[str, Term]) -> dict[str, Term]:
    """Return the terms without scale and bounds, whose total is that of their values as given."""
    return {name: replace(term, normalize="none", clip=None) for name, term in terms.items()}
