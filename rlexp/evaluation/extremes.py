"""The prompts on which the reward rose most and fell most, with what was written to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlexp.evaluation.results import Pair, in_groups

if TYPE_CHECKING:
    from rlexp.evaluation.results import Evaluation, Sample

MOST = 10


def largest_changes(
    before: Evaluation | None, after: Evaluation | None
) -> tuple[list[Pair], list[Pair]]:
    """At most ten largest gains and ten largest losses of a prompt's mean reward, largest first.

    Each shows the completion whose reward is nearest to the prompt's mean, before and after, and
    those means.
    """
    if before is None or after is None:
        return [], []
    found = []
    sides = [_groups(before), _groups(after)]
    means = zip(before.per_prompt_reward, after.per_prompt_reward, strict=True)
    for index, (old, new) in enumerate(means):
        if old is not None and new is not None and old != new:
            first, second = (side[index] for side in sides)
            texts = _typical(first, old), _typical(second, new)
            pair = Pair(first[0].prompt, texts[0], texts[1], old, new)
            found.append((new - old, pair))
    by_size = sorted(found, key=lambda each: -abs(each[0]))
    gains = [pair for difference, pair in by_size if difference > 0]
    losses = [pair for difference, pair in by_size if difference < 0]
    return gains[:MOST], losses[:MOST]


def _groups(evaluation: Evaluation) -> list[Sequence[Sample]]:
    prompts = len(evaluation.per_prompt_reward)
    size = len(evaluation.samples) // prompts if prompts else 0
    return list(in_groups(evaluation.samples, [size] * prompts))


def _typical(samples: Sequence[Sample], mean: float) -> str:
    known = [(abs(sample.reward - mean), sample) for sample in samples if sample.reward is not None]
    return min(known, key=lambda each: each[0])[1].completion
