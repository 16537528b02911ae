"""What changed from before to after, and whether that is more than chance.

The interval of a change is paired: both evaluations are of the same prompts, and each resample of
the bootstrap takes the same of them on both sides. One that leaves 0 out says which way the metric
went; another says that these prompts cannot tell. It speaks of these two models: whether the
setting does it again takes several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlexp.evaluation.bootstrap import bootstrap_change
from rlexp.evaluation.metrics import find_metric
from rlexp.evaluation.ratios import metric_of_ratio
from rlexp.evaluation.results import Evaluation, Pair, Ratio, Sample

SHOWN = 10
"""Largest gains, and losses, of a card."""


@dataclass(frozen=True)
class Change:
    """After minus before, on the same prompts."""

    difference: float | None
    """None where it is not finite; so are the ends."""
    low: float | None
    """Ends of the 95 % interval."""
    high: float | None

    @property
    def direction(self) -> str:
        """`rose` or `fell` where the interval leaves 0 out, otherwise `unclear`."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "unclear"
        return "rose" if self.low > 0 else "fell"


def finite_values(
    metric: str, before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> tuple[float, float] | None:
    """Return a metric before and after; None where it is not a finite number in both."""
    old, new = before.get(metric), after.get(metric)
    if old is None or new is None or not (math.isfinite(old) and math.isfinite(new)):
        return None
    return old, new


def changes(before: Evaluation, after: Evaluation, resamples: int, seed: int) -> dict[str, Change]:
    """Return the change of each metric that two evaluations of the same prompts keep by prompt."""
    by_metric = {
        name: change(name, before.ratios[name], after.ratios[name], resamples, seed)
        for name in before.ratios
        if name in after.ratios
    }
    return {name: changed for name, changed in by_metric.items() if changed is not None}


def change(metric: str, before: Ratio, after: Ratio, resamples: int, seed: int) -> Change | None:
    """Return a metric's change over the prompts that both sides have; None for fewer than two."""
    import numpy as np

    rows = [row for row in zip(*before, *after, strict=True) if row[1] and row[3]]
    if len(rows) < 2:
        return None
    old, old_count, new, new_count = (list(column) for column in zip(*rows, strict=True))
    transform = np.exp if find_metric(metric).mean == "perplexity" else np.asarray
    ends = bootstrap_change((old, old_count), (new, new_count), resamples, seed, transform)
    sides = (sum(old) / sum(old_count), sum(new) / sum(new_count))
    start, end = (metric_of_ratio(metric, ratio) for ratio in sides)
    return Change(end - start, *(ends or (None, None)))


def largest_changes(
    before: Evaluation | None, after: Evaluation | None
) -> tuple[list[Pair], list[Pair]]:
    """Return the largest gains and losses of a prompt's mean reward, largest first.

    Each shows the completion whose reward is nearest to that mean, before and after.
    """
    if before is None or after is None:
        return [], []
    means = before.per_prompt_reward, after.per_prompt_reward
    sides = zip(before.by_prompt, after.by_prompt, *means, strict=True)
    differences = []
    for first, second, old, new in sides:
        if old is not None and new is not None and old != new:
            texts = _typical_completion(first, old), _typical_completion(second, new)
            differences.append((new - old, Pair(first[0].prompt, *texts, old, new)))
    by_size = sorted(differences, key=lambda item: -abs(item[0]))
    gains = [pair for difference, pair in by_size if difference > 0]
    losses = [pair for difference, pair in by_size if difference < 0]
    return gains[:SHOWN], losses[:SHOWN]


def _typical_completion(samples: Sequence[Sample], mean: float) -> str:
    known = [(abs(sample.reward - mean), sample) for sample in samples if sample.reward is not None]
    return min(known, key=lambda item: item[0])[1].completion
