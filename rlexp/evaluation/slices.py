"""For whom did it change? The mean reward before and after, by kinds of prompts.

Prompts are parted by their length, and by columns of the data that the user names: a column of
numbers into thirds, as the length is, any other by its values. Many slices are many chances: of
twenty without any change one is expected to have an interval that leaves 0 out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlexp.evaluation.changes import Change, change
from rlexp.evaluation.results import Ratio

if TYPE_CHECKING:
    from rlexp.evaluation.results import Evaluation

LENGTH = "prompt length"
MOST_VALUES = 12
"""Values of a column that are told apart; the rarest of more stand together."""
OTHERS = "others"
NOTHING = "nothing"


@dataclass(frozen=True)
class Slice:
    """Some of the prompts."""

    by: str
    """What they were parted by: the prompt's length, or a column."""
    value: str
    """What these have in common."""
    prompts: int
    """Those that have a reward before and after, or at the one of the two that there is."""
    before: float | None
    """Mean reward."""
    after: float | None
    change: Change | None
    """None for fewer than two prompts."""

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Slice:
        """From what JSON makes of it."""
        changed = content["change"]
        told: dict[str, Any] = content | {"change": Change(**changed) if changed else None}
        return cls(**told)


def metric_slices(
    before: Evaluation | None,
    after: Evaluation | None,
    columns: Mapping[str, Sequence[Any]],
    resamples: int,
    seed: int,
) -> list[Slice]:
    """Each column's slices, in the order of the columns; none without a reward.

    Args:
        before, after: evaluations of the same prompts, n of them.
        columns: of each name n values; lists and mappings count by their text.
        resamples, seed: of the bootstrap.
    """
    ratios = [each.ratios.get("reward") if each else None for each in (before, after)]
    if ratios == [None, None]:
        return []
    found = []
    for by, values in columns.items():
        labels = labels_of(values, unit=" tokens" if by == LENGTH else "")
        for label in dict.fromkeys(labels[1]):
            places = [place for place, each in enumerate(labels[0]) if each == label]
            found.append(_slice(by, label, places, ratios, resamples, seed))
    return found


def labels_of(values: Sequence[Any], unit: str = "") -> tuple[list[str], list[str]]:
    """Each value's label, and all labels in the order in which people read them.

    >>> labels_of(["b", "a", None])
    (['b', 'a', 'nothing'], ['a', 'b', 'nothing'])
    >>> labels_of([1, 2, 3, 4, 5, 6] * 3)[1]
    ['up to 2', '3 to 4', '5 or more']
    """
    known = [value for value in values if value is not None]
    if _are_numbers(known) and (unit or len(set(known)) > MOST_VALUES // 3):
        label, order = _thirds(known, unit)
    else:
        label, order = _by_value([str(value) for value in known])
    labels = [NOTHING if value is None else label(value) for value in values]
    return labels, [each for each in [*order, NOTHING] if each in labels]


def _are_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    )


def _thirds(values: Sequence[float], unit: str) -> tuple[Callable[[Any], str], list[str]]:
    """Thirds of the prompts, as far as equal values, which stay together, let them be."""
    ordered = sorted(values)
    bounds = [ordered[(len(ordered) * third - 1) // 3] for third in (1, 2)] + [ordered[-1]]
    parts: list[list[float]] = []
    for bound in dict.fromkeys(bounds):
        above = parts[-1][-1] if parts else None
        parts.append(
            [each for each in ordered if each <= bound and (above is None or each > above)]
        )
    names = {}
    for index, part in enumerate(parts):
        low, high = f"{part[0]:g}", f"{part[-1]:g}"
        middle = high if low == high else f"{low} to {high}"
        first, last = index == 0, index == len(parts) - 1
        name = middle if first == last else f"up to {high}" if first else f"{low} or more"
        names[part[-1]] = name + unit

    def label(value: float) -> str:
        return next(name for bound, name in names.items() if value <= bound)

    return label, list(names.values())


def _by_value(values: Sequence[str]) -> tuple[Callable[[Any], str], list[str]]:
    counts = Counter(values)
    kept = {value for value, _ in counts.most_common(MOST_VALUES)}
    if len(counts) > MOST_VALUES:
        kept = {value for value, _ in counts.most_common(MOST_VALUES - 1)}
    return lambda value: str(value) if str(value) in kept else OTHERS, [*sorted(kept), OTHERS]


def _slice(
    by: str,
    value: str,
    places: Sequence[int],
    ratios: Sequence[Ratio | None],
    resamples: int,
    seed: int,
) -> Slice:
    old, new = (_at(places, ratio) if ratio else None for ratio in ratios)
    there = [counts for _, counts in (side for side in (old, new) if side)]
    shared = [at for at in range(len(places)) if all(counts[at] for counts in there)]
    changed = change("reward", old, new, resamples, seed) if old and new else None
    return Slice(by, value, len(shared), _mean(old, shared), _mean(new, shared), changed)


def _at(places: Sequence[int], ratio: Ratio) -> Ratio:
    sums, counts = ratio
    return [sums[place] for place in places], [counts[place] for place in places]


def _mean(ratio: Ratio | None, places: Sequence[int]) -> float | None:
    if ratio is None or not places:
        return None
    sums, counts = _at(places, ratio)
    return sum(sums) / sum(counts)
