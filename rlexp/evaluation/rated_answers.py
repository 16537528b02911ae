"""What answers that were sampled to become rows are worth: on average, at best, and how far apart.

No held-out prompts are looked at here: these are the numbers of training prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlexp.evaluation.ratios import averages, sample_ratios, sum_by_prompt
from rlexp.evaluation.results import Evaluation, Sample
from rlexp.spec.eval import EvalSpec


def rate_answers(
    samples: Sequence[Sample], prompts: int, counts: Mapping[str, int], spec: EvalSpec
) -> Evaluation:
    """Return means over answers, and over prompts of the best, the worst and their difference.

    Args:
        samples: rated answers, with the number of their prompt; those to one are neighbours.
        prompts: how many were asked.
        counts: metrics that are counted, not averaged.
        spec: `prompts` of whose answers are kept, and how intervals are drawn.
    """
    groups: list[list[Sample]] = [[] for _ in range(prompts)]
    for sample in samples:
        assert sample.prompt_id is not None
        groups[sample.prompt_id].append(sample)
    ratios = sum_by_prompt(sample_ratios(samples, [], []), [len(group) for group in groups])
    earned = [[s.reward for s in group if s.reward is not None] for group in groups]
    of_prompts = {
        "reward_best": [max(values) for values in earned if values],
        "reward_worst": [min(values) for values in earned if values],
        "margin": [max(values) - min(values) for values in earned if values],
        "ties": [float(len(set(values)) == 1) for values in earned if len(values) > 1],
    }
    ratios |= {name: (values, [1.0] * len(values)) for name, values in of_prompts.items()}
    metrics, intervals = averages(ratios, spec.bootstrap, spec.seed)
    metrics |= {name: float(count) for name, count in counts.items()}
    shown = [sample for group in groups[: spec.prompts] for sample in group]
    return Evaluation(metrics, intervals, [], shown)
