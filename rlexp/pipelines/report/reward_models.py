"""What the reward models are worth: on held-out pairs, and on the answers of their policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rlexp.evaluation.changes import Change
from rlexp.evaluation.ranking.agreement import RewardAgreement, agreement, agreement_change
from rlexp.evaluation.ranking.calibration import (
    Calibration,
    calibration,
    pair_measures,
    score_margins,
)
from rlexp.evaluation.results import Evaluation
from rlexp.evaluation.win_rate import Rewards
from rlexp.pipelines.report.runs import MeasuredPipeline, MeasuredStage, by_prompt
from rlexp.pipelines.report.scales import REWARD, Measurement, sample_reward


@dataclass(frozen=True)
class RewardModelQuality:
    """A reward model on pairs that it was not trained on."""

    stage: str
    pairs: int
    before: float | None
    """Share in the right order, before its training."""
    accuracy: float
    """The same after it."""
    low: float | None
    """Ends of its 95 % interval."""
    high: float | None
    log_loss: float
    """Nats a pair; log 2 is that of one who knows nothing."""
    brier: float
    calibration: Calibration


@dataclass(frozen=True)
class GoldAgreement:
    """A reward that a policy was trained for, against a gold one on the policy's own answers."""

    policy: str
    reward: str
    """The label of its scale."""
    gold: str
    steps: list[int]
    """At which the policy was evaluated."""
    rates: list[RewardAgreement | None]
    """At each of them."""
    change: Change | None
    """Of the rate, from the first to the last of them, paired by prompt."""

    @property
    def before(self) -> RewardAgreement | None:
        """On the answers of the policy that it began with."""
        return self.rates[0]

    @property
    def after(self) -> RewardAgreement | None:
        """On the answers that it ended with."""
        return self.rates[-1]


def reward_models(pipeline: MeasuredPipeline) -> list[RewardModelQuality]:
    """Return the accuracy and the calibration of each reward model on its held-out pairs."""
    return [
        _reward_model(run, run.final) for run in pipeline.reward_models if run.final is not None
    ]


def _reward_model(run: MeasuredStage, final: Evaluation) -> RewardModelQuality:
    margins = score_margins(final.samples)
    measured = pair_measures(margins)
    low, high = final.intervals.get("accuracy", (None, None))
    return RewardModelQuality(
        run.name,
        len(margins),
        run.initial.metrics["accuracy"] if run.initial else None,
        final.metrics["accuracy"],
        low,
        high,
        fmean(measured["log_loss"]),
        fmean(measured["brier"]),
        calibration(margins, run.resamples, run.seed),
    )


def gold_agreements(
    pipeline: MeasuredPipeline, found: Sequence[Measurement]
) -> list[GoldAgreement]:
    """Return, for each policy trained for a reward, how far that agrees with each gold one."""
    own = {one.policy: one for one in found if one.run.name == one.policy}
    return [
        result
        for run in pipeline.policies
        if run.algorithm.needs_reward and run.name in own
        for result in _agreements(run, own[run.name])
    ]


def _agreements(run: MeasuredStage, final: Measurement) -> Iterator[GoldAgreement]:
    labels = {metric: label for label, metric in final.metrics.items()}
    for metric, label in labels.items():
        if metric == REWARD or REWARD not in labels:
            continue
        evaluations = evaluated_by(run, metric)
        pairs = [reward_pairs(evaluation, metric) for evaluation in evaluations.values()]
        yield GoldAgreement(
            run.name,
            labels[REWARD],
            label,
            list(evaluations),
            [agreement(*pair, run.resamples, run.seed) for pair in pairs],
            agreement_change(pairs[0], pairs[-1], run.resamples, run.seed),
        )


def evaluated_by(run: MeasuredStage, gold: str) -> dict[int, Evaluation]:
    """Return a run's evaluations, by step, that know its own reward and a gold metric."""
    steps = sorted(run.evaluations.items())
    return {step: one for step, one in steps if {REWARD, gold} <= one.metrics.keys()}


def reward_pairs(evaluation: Evaluation, gold: str) -> tuple[Rewards, Rewards]:
    """Return the run's own reward of each prompt's completions, and what a gold metric says."""
    groups = by_prompt(evaluation.samples).values()
    return (
        [[sample.reward for sample in group] for group in groups],
        [[sample_reward(sample, gold) for sample in group] for group in groups],
    )
