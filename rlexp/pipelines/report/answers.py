"""The same held-out prompts, answered by every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlexp.pipelines.report.runs import Key
from rlexp.pipelines.report.scales import Measurement, sample_reward

PROMPTS = 10


@dataclass(frozen=True)
class StageAnswer:
    """What one policy wrote to a prompt."""

    policy: str
    text: str | None
    """Its first completion, not picked; None where it was evaluated on other prompts."""
    rewards: dict[str, float | None]
    """What each reward that was measured says of it, by the label of its scale."""


@dataclass(frozen=True)
class AnsweredPrompt:
    """A prompt, and the answers to it in the order of the policies."""

    prompt: str
    answers: list[StageAnswer]


def side_by_side(
    policies: Sequence[str], found: Sequence[Measurement], main: str | None
) -> list[AnsweredPrompt]:
    """Return the first prompts, those that most policies answered first.

    Of each policy the evaluation that measures the main scale is taken, else its first one.
    """
    chosen = {policy: _evaluation(policy, found, main) for policy in policies}
    known = {policy: one for policy, one in chosen.items() if one is not None}
    prompts = list(dict.fromkeys(key for one in known.values() for key in one.answers))
    by_count = sorted(prompts, key=lambda key: -sum(key in one.answers for one in known.values()))
    return [
        AnsweredPrompt(key[0], [_answer(policy, one, key) for policy, one in known.items()])
        for key in by_count[:PROMPTS]
    ]


def unanswered_notes(policies: Sequence[str], prompts: Sequence[AnsweredPrompt]) -> list[str]:
    """Return a sentence for each policy that lacks answers to prompts that are shown."""
    sentences = []
    for policy in policies:
        answers = [one for prompt in prompts for one in prompt.answers if one.policy == policy]
        lacking = sum(answer.text is None for answer in answers)
        if not answers:
            sentences.append(f"{policy} has no answers to show: nothing has evaluated it.")
        elif lacking:
            sentences.append(
                f"{policy} has no answer to {lacking} of the {len(answers)} prompts that are "
                "shown: it was evaluated on others."
            )
    return sentences


def _evaluation(policy: str, found: Sequence[Measurement], main: str | None) -> Measurement | None:
    of_policy = [one for one in found if one.policy == policy]
    return next((one for one in of_policy if main in one.metrics), next(iter(of_policy), None))


def _answer(policy: str, one: Measurement, key: Key) -> StageAnswer:
    if key not in one.answers:
        return StageAnswer(policy, None, {})
    sample = one.answers[key][0]
    rewards = {label: sample_reward(sample, metric) for label, metric in one.metrics.items()}
    return StageAnswer(policy, sample.completion, rewards)
