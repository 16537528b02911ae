"""Which rewards of which stages are one: only on one scale can two policies be compared.

A stage measures its policy, before and after, by the reward that it trains on and by those of
`eval.gold`. One reward may be the first of one stage and a gold one of the next: what decides is
its config, down to each knob.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from rlexp.evaluation.changes import Change, change
from rlexp.evaluation.metrics import GOLD
from rlexp.evaluation.results import Evaluation, Ratio, Sample
from rlexp.evaluation.win_rate import Rewards, WinRate, win_rate_by_reward
from rlexp.pipelines.report.runs import Key, MeasuredPipeline, MeasuredStage, by_prompt, uses_stage

REWARD = "reward"
"""The metric of a run's own reward."""


@dataclass(frozen=True)
class Scale:
    """A reward by which policies are measured."""

    label: str
    """What people call it."""
    learned: bool
    """Whether a stage of the pipeline trained it."""
    trained_on: list[str]
    """The stages that were trained for it."""


@dataclass(frozen=True)
class Measurement:
    """An evaluation of a policy, and which rewards it measures."""

    policy: str
    """A stage, or a base."""
    run: MeasuredStage = field(repr=False)
    """That made it."""
    evaluation: Evaluation = field(repr=False)
    metrics: dict[str, str]
    """By the label of a scale, the metric of the evaluation that is of it."""

    @cached_property
    def answers(self) -> dict[Key, list[Sample]]:
        """The completions by prompt."""
        return by_prompt(self.evaluation.samples)

    def ratio(self, label: str, prompts: Sequence[Key]) -> Ratio:
        """Return the sums of a scale's metric by prompt, in the order of these prompts."""
        sums, counts = self.evaluation.ratios[self.metrics[label]]
        places = {key: place for place, key in enumerate(self.answers)}
        return [sums[places[key]] for key in prompts], [counts[places[key]] for key in prompts]

    def rewards(self, label: str, prompts: Sequence[Key]) -> Rewards:
        """Return the rewards of each prompt's completions, in the order of these prompts."""
        metric = self.metrics[label]
        return [[sample_reward(sample, metric) for sample in self.answers[key]] for key in prompts]


@dataclass(frozen=True)
class Gain:
    """One policy against another, on the prompts that both answered."""

    other: str
    prompts: int
    change: Change
    """Of the mean reward, paired by prompt."""
    wins: WinRate
    """How often an answer of it wins against one of the other to the same prompt."""


@dataclass(frozen=True)
class Standing:
    """A policy on one scale."""

    policy: str
    value: float
    low: float | None
    """Ends of the 95 % interval over the prompts."""
    high: float | None
    on_parent: Gain | None
    """Against the stage before; None for a base, and where no answers can be compared."""
    on_base: Gain | None
    """Against the base, where that is another one than the stage before."""


@dataclass(frozen=True)
class Standings:
    """All policies that were measured on one scale, in their order."""

    scale: Scale
    rows: list[Standing]


def sample_reward(sample: Sample, metric: str) -> float | None:
    """Return what one reward says of a completion."""
    return sample.reward if metric == REWARD else sample.gold.get(metric.removeprefix(GOLD))


def measurements(pipeline: MeasuredPipeline) -> tuple[list[Scale], list[Measurement]]:
    """Return the rewards that policies were measured by, and each policy's evaluations.

    A policy's own last evaluation stands first, then those by which others began, then those that
    set it against the base.
    """
    labels = _labels(pipeline)
    own: list[Measurement] = []
    others: list[Measurement] = []
    for run in [*pipeline.policies, *(run for run in pipeline.runs if run.is_evaluation)]:
        metrics = {
            labels[_identity(reward)]: name
            for name, reward in _rewards(run)
            if _identity(reward) in labels
        }
        sides = (
            (pipeline.parent(run), run.initial, others),
            (pipeline.evaluated(run), run.final, own if run.is_policy else others),
        )
        for policy, evaluation, kept in sides:
            if evaluation is not None:
                there = {k: m for k, m in metrics.items() if m in evaluation.ratios}
                kept.append(Measurement(policy, run, evaluation, there))
    everything = [*own, *others]
    known = {label for one in everything for label in one.metrics}
    scales = [_scale(pipeline, identity, label) for identity, label in labels.items()]
    return [scale for scale in scales if scale.label in known], everything


def _rewards(run: MeasuredStage) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rewards that a run measures, by the names of their metrics."""
    yield REWARD, run.config["reward"]
    for name, reward in run.config["eval"]["gold"].items():
        yield f"{GOLD}{name}", reward


def _identity(reward: dict[str, Any]) -> str:
    """Return what two rewards that are one have in common; what they are called does not matter."""
    knobs = {key: value for key, value in reward.items() if key != "name"}
    return json.dumps(knobs, sort_keys=True, default=str)


def _labels(pipeline: MeasuredPipeline) -> dict[str, str]:
    """Return the name of each reward, by its identity; no two share one."""
    labels: dict[str, str] = {}
    for run in pipeline.runs:
        for _, reward in _rewards(run) if not run.is_reward_model else ():
            identity = _identity(reward)
            if identity in labels:
                continue
            makers = [other.name for other in pipeline.reward_models if _uses(reward, other)]
            name = _learned(makers, pipeline) if makers else str(reward["name"])
            count = sum(label == name or label.startswith(f"{name} #") for label in labels.values())
            labels[identity] = f"{name} #{count + 1}" if count else name
    return labels


def _learned(makers: Sequence[str], pipeline: MeasuredPipeline) -> str:
    """Return the name of a reward that stages trained; which of several they are is said."""
    lone = len(pipeline.reward_models) == 1
    return "learned reward" if lone else f"learned reward ({', '.join(makers)})"


def _scale(pipeline: MeasuredPipeline, identity: str, label: str) -> Scale:
    trained_on = [
        run.name
        for run in pipeline.policies
        if _identity(run.config["reward"]) == identity and run.algorithm.needs_reward
    ]
    reward = json.loads(identity)
    learned = any(_uses(reward, run) for run in pipeline.reward_models)
    return Scale(label, learned, trained_on)


def _uses(reward: Any, run: MeasuredStage) -> bool:
    return uses_stage(reward, run.record)


def standings(
    pipeline: MeasuredPipeline, scales: Sequence[Scale], found: Sequence[Measurement]
) -> list[Standings]:
    """Return how policies stand on each scale, the one that matters most first.

    That is the one on which most of them were measured; of several the one that no stage learned.
    """
    tables = [Standings(scale, list(_rows(pipeline, scale.label, found))) for scale in scales]
    known = [table for table in tables if table.rows]
    return sorted(known, key=lambda table: (-len(table.rows), table.scale.learned))


def _rows(
    pipeline: MeasuredPipeline, label: str, found: Sequence[Measurement]
) -> Iterator[Standing]:
    bases = dict.fromkeys(pipeline.base(run) for run in pipeline.policies)
    parents = {run.name: (pipeline.parent(run), pipeline.base(run)) for run in pipeline.policies}
    for policy in [*bases, *parents]:
        of_policy = [one for one in found if one.policy == policy and label in one.metrics]
        if not of_policy:
            continue
        metric = of_policy[0].metrics[label]
        low, high = of_policy[0].evaluation.intervals.get(metric, (None, None))
        parent, base = parents.get(policy, ("", ""))
        yield Standing(
            policy,
            of_policy[0].evaluation.metrics[metric],
            low,
            high,
            on_parent=compared(found, parent, policy, label) if parent else None,
            on_base=compared(found, base, policy, label) if base != parent else None,
        )


def compared(found: Sequence[Measurement], first: str, second: str, label: str) -> Gain | None:
    """Return the second policy against the first on one scale; None where they share no prompts.

    Two evaluations of one run are of the same prompts in the same way, and go before others.
    """
    sides = (
        [one for one in found if one.policy == policy and label in one.metrics]
        for policy in (first, second)
    )
    best: tuple[tuple[bool, int], Measurement, Measurement] | None = None
    for one, other in product(*sides):
        if one.run.sampled_by != other.run.sampled_by:
            continue
        rank = (one.run is other.run, len(shared_prompts_of(one, other)))
        if best is None or rank > best[0]:
            best = rank, one, other
    return _gain(best[1], best[2], label) if best else None


def shared_prompts_of(one: Measurement, other: Measurement) -> list[Key]:
    """Return the prompts that two evaluations have in common, in the order of the first."""
    return [key for key in one.answers if key in other.answers]


def _gain(before: Measurement, after: Measurement, label: str) -> Gain | None:
    prompts = shared_prompts_of(before, after)
    first, second = (one.ratio(label, prompts) for one in (before, after))
    resamples, seed = after.run.resamples, after.run.seed
    changed = change(REWARD, first, second, resamples, seed)
    wins = win_rate_by_reward(
        before.rewards(label, prompts), after.rewards(label, prompts), resamples, seed
    )
    if changed is None or wins is None:
        return None
    return Gain(before.policy, len(prompts), changed, wins)
