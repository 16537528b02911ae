"""For whom did it change? The mean reward before and after, by kinds of prompts.

Prompts are parted by their length, and by columns of the data that the user names: a column of
numbers into thirds, as the length is, any other by its values. Many slices are many chances: of
twenty without any change one is expected to have an interval that leaves 0 out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlexp.evaluation.changes import Change, change
from rlexp.evaluation.results import Evaluation, Ratio

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
        """Read what JSON made of one."""
        changed = content["change"]
        return cls(**{**content, "change": Change(**changed) if changed else None})


def metric_slices(
    before: Evaluation | None,
    after: Evaluation | None,
    columns: Mapping[str, Sequence[Any]],
    resamples: int,
    seed: int,
) -> list[Slice]:
    """Return each column's slices, in the order of the columns; none without a reward.

    Each column has a value for each prompt; lists and mappings count by their text.
    """
    ratios = [side.ratios.get("reward") if side else None for side in (before, after)]
    if ratios == [None, None]:
        return []
    slices = []
    for by, values in columns.items():
        labels, order = slice_labels(values, unit=" tokens" if by == LENGTH else "")
        for value in dict.fromkeys(order):
            prompts = [index for index, label in enumerate(labels) if label == value]
            old, new = (_select(prompts, ratio) if ratio else None for ratio in ratios)
            side_counts = [counts for _, counts in (side for side in (old, new) if side)]
            shared = [i for i in range(len(prompts)) if all(counts[i] for counts in side_counts)]
            changed = change("reward", old, new, resamples, seed) if old and new else None
            means = _mean(old, shared), _mean(new, shared)
            slices.append(Slice(by, value, len(shared), *means, changed))
    return slices


def slice_labels(values: Sequence[Any], unit: str = "") -> tuple[list[str], list[str]]:
    """Return each value's label, and all labels in the order in which people read them.

    >>> slice_labels(["b", "a", None])
    (['b', 'a', 'nothing'], ['a', 'b', 'nothing'])
    >>> slice_labels([1, 2, 3, 4, 5, 6] * 3)[1]
    ['up to 2', '3 to 4', '5 or more']
    """
    known = [value for value in values if value is not None]
    if _are_numbers(known) and (unit or len(set(known)) > MOST_VALUES // 3):
        label, order = _thirds(known, unit)
    else:
        label, order = _by_value([str(value) for value in known])
    labels = [NOTHING if value is None else label(value) for value in values]
    return labels, [known_label for known_label in [*order, NOTHING] if known_label in labels]


def _are_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    )


def _thirds(values: Sequence[float], unit: str) -> tuple[Callable[[Any], str], list[str]]:
    """Label by thirds of the prompts, as far as equal values, which stay together, let them be."""
    ordered = sorted(values)
    bounds = [ordered[(len(ordered) * third - 1) // 3] for third in (1, 2)] + [ordered[-1]]
    parts: list[list[float]] = []
    for bound in dict.fromkeys(bounds):
        above = parts[-1][-1] if parts else -math.inf
        parts.append([value for value in ordered if above < value <= bound])
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
    """Label by the values themselves, the rarest of many together."""
    counts = Counter(values)
    told_apart = MOST_VALUES - (len(counts) > MOST_VALUES)  # the others stand in one place
    kept = {value for value, _ in counts.most_common(told_apart)}
    return lambda value: str(value) if str(value) in kept else OTHERS, [*sorted(kept), OTHERS]


def _select(prompts: Sequence[int], ratio: Ratio) -> Ratio:
    sums, counts = ratio
    return [sums[prompt] for prompt in prompts], [counts[prompt] for prompt in prompts]


def _mean(ratio: Ratio | None, prompts: Sequence[int]) -> float | None:
    if ratio is None or not prompts:
        return None
    sums, counts = _select(prompts, ratio)
    return sum(sums) / sum(counts)
