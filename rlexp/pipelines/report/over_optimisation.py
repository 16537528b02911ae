"""The reward that a policy is trained for against a gold one, along the training.

Gao et al. 2022 (arXiv:2210.10760): as a policy moves away from where it began, the learned reward
goes on rising while the gold one rises, peaks and falls. Along the square root of the KL divergence
of a whole answer the curves are smooth.

The highest of many evaluations is in part the luckiest, and a fall from luck is none. So the way
from the gold reward's peak to the end is measured for each prompt from where the other half of the
prompts has its peak. Of simulated trainings without a fall (200 prompts, 11 evaluations) 5 % seem
to have one then, and 12 % where the peak is looked for and left on the same prompts; one that loses
a fifth of what it had gained is seen in 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import pstdev

from rlexp.evaluation.changes import Change, change
from rlexp.evaluation.results import Evaluation, Ratio
from rlexp.pipelines.report.reward_models import GoldAgreement, evaluated_by
from rlexp.pipelines.report.runs import MeasuredPipeline, MeasuredStage
from rlexp.pipelines.report.scales import REWARD, Measurement, sample_reward

NATS = "kl_sequence"
MATTERS = 0.1
"""Share of what the gold reward had gained; with many prompts a loss far smaller is beyond chance.
"""


@dataclass(frozen=True)
class MeanReward:
    """A reward's mean over an evaluation."""

    value: float
    low: float | None
    """Ends of its 95 % interval over the prompts."""
    high: float | None


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation of a policy in training."""

    step: int
    kl: float | None
    """Nats a whole answer, from the reference."""
    reward: MeanReward
    """That the policy is trained for."""
    gold: MeanReward

    @property
    def root_kl(self) -> float | None:
        """Square root of the KL divergence, the distance of Gao et al."""
        return None if self.kl is None else math.sqrt(max(self.kl, 0.0))


@dataclass(frozen=True)
class RewardCurve:
    """The two rewards of one policy along its training."""

    policy: str
    reward: str
    """The label of the scale that it was trained for."""
    gold: str
    gold_metric: str
    """Its name among the evaluation's metrics."""
    points: list[CurvePoint]
    """By step, the first before the training."""
    reward_spread: float
    """Standard deviation of a completion's reward before the training."""
    gold_spread: float
    rise: Change | None
    """Of the reward, from the first point to the last."""
    gold_rise: Change | None
    """The same of the gold one."""
    peak: int
    """The step at which the gold reward is highest."""
    since_peak: Change | None
    """Of the reward, from the peak to the end, each prompt from the peak of the other half of them;
    None where the peak is the end."""
    gold_since_peak: Change | None
    """The same of the gold one."""

    @property
    def parted(self) -> bool:
        """Whether, since the peak, the reward rose while the gold one fell, both beyond chance."""
        sides = self.since_peak, self.gold_since_peak
        return [side.direction if side else "" for side in sides] == ["rose", "fell"]

    @property
    def lost_share(self) -> float:
        """The gold reward's fall since its peak, over what it had gained up to there."""
        peak = next(point.gold.value for point in self.points if point.step == self.peak)
        gained = peak - self.points[0].gold.value
        fall = self.gold_since_peak.difference if self.gold_since_peak else None
        return math.inf if gained <= 0 else max(-(fall or 0.0), 0.0) / gained

    @property
    def over_optimised(self) -> bool:
        """Whether they parted, and the gold reward lost so much that it matters."""
        return self.parted and self.lost_share >= MATTERS


def reward_curves(
    pipeline: MeasuredPipeline, found: Sequence[Measurement], agreements: Sequence[GoldAgreement]
) -> list[RewardCurve]:
    """Return a curve for each policy, and each gold reward that was measured beside its own."""
    own = {one.policy: one for one in found if one.run.name == one.policy}
    runs = {run.name: run for run in pipeline.policies}
    return [
        curve
        for one in agreements
        for curve in _curve(runs[one.policy], one, own[one.policy].metrics[one.gold])
    ]


def _curve(run: MeasuredStage, pair: GoldAgreement, gold: str) -> Iterator[RewardCurve]:
    evaluations = evaluated_by(run, gold)
    if len(evaluations) < 2:
        return
    first, last = evaluations[min(evaluations)], evaluations[max(evaluations)]
    peak = _peak(evaluations, gold)

    def changed(metric: str, start: Ratio) -> Change | None:
        return change(metric, start, last.ratios[metric], run.resamples, run.seed)

    ended = peak == max(evaluations)
    yield RewardCurve(
        run.name,
        pair.reward,
        pair.gold,
        gold,
        [_point(step, evaluation, gold) for step, evaluation in evaluations.items()],
        _spread(first, REWARD),
        _spread(first, gold),
        changed(REWARD, first.ratios[REWARD]),
        changed(gold, first.ratios[gold]),
        peak,
        None if ended else changed(REWARD, at_others_peak(evaluations, REWARD, gold)),
        None if ended else changed(gold, at_others_peak(evaluations, gold, gold)),
    )


def at_others_peak(evaluations: Mapping[int, Evaluation], metric: str, gold: str) -> Ratio:
    """Return a metric's sums by prompt, each at the step where the other half of the prompts has
    its highest gold reward.
    """
    starts = [evaluations[_peak(evaluations, gold, half)].ratios[metric] for half in (1, 0)]
    columns = zip(*starts, strict=True)
    sums, counts = (
        [column[place % 2][place] for place in range(len(column[0]))] for column in columns
    )
    return sums, counts


def _peak(evaluations: Mapping[int, Evaluation], gold: str, half: int | None = None) -> int:
    """Return the step of the highest gold reward on all prompts, the even (0) or the odd ones."""
    places = slice(half, None, None if half is None else 2)

    def mean(step: int) -> float:
        sums, counts = (column[places] for column in evaluations[step].ratios[gold])
        return sum(sums) / sum(counts) if sum(counts) else -math.inf

    return max(evaluations, key=mean)


def _spread(evaluation: Evaluation, metric: str) -> float:
    values = (sample_reward(sample, metric) for sample in evaluation.samples)
    return pstdev([value for value in values if value is not None])


def _point(step: int, evaluation: Evaluation, gold: str) -> CurvePoint:
    means = (
        MeanReward(evaluation.metrics[name], *evaluation.intervals.get(name, (None, None)))
        for name in (REWARD, gold)
    )
    return CurvePoint(step, evaluation.metrics.get(NATS), *means)
