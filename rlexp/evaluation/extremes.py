"""The prompts on which the reward rose most and fell most, with what was written to them."""

from __future__ import annotations

from collections.abc import Sequence

from rlexp.evaluation.results import Evaluation, Pair, Sample

SHOWN = 10


def largest_changes(
    before: Evaluation | None, after: Evaluation | None
) -> tuple[list[Pair], list[Pair]]:
    """Return the ten largest gains and losses, or fewer, of a prompt's mean reward, largest first.

    Each shows the completion whose reward is nearest to the prompt's mean, before and after, and
    those means.
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
