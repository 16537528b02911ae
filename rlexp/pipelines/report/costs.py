"""What each stage cost, how far it went from where it began, and what it forgot."""

from __future__ import annotations

from dataclasses import dataclass

from rlexp.cards.card import Card
from rlexp.evaluation.changes import Change
from rlexp.pipelines.report.runs import MeasuredPipeline, MeasuredStage


@dataclass(frozen=True)
class Distance:
    """How far a policy is from its reference and from the base; None where it was not measured."""

    policy: str
    reference: str
    """Its reference: the policy that it began with."""
    kl: float | None
    """Nats a token, from its reference."""
    kl_base: float | None
    """The same from the base."""
    kl_answer_base: float | None
    """Nats a whole answer, from the base."""
    perplexity: float | None
    """Of held-out texts, after the stage."""
    forgotten: Change | None
    """Change of that perplexity in the stage."""
    forgotten_base: Change | None
    """Its change since the base."""


@dataclass(frozen=True)
class StageCost:
    """What a stage took."""

    stage: str
    algo: str
    state: str
    round: int | None
    steps: int | None
    """Optimizer steps; None where nothing was trained."""
    seconds: float
    """Wall-clock, in total."""
    train_seconds: float
    tokens: int | None
    """That training read or sampled; None where they were not counted."""
    peak_memory_mib: float


def distances(pipeline: MeasuredPipeline) -> list[Distance]:
    """Return the distance of each policy, from the stages' cards and those against the base."""
    rows = []
    for run in pipeline.policies:
        against_base = pipeline.against_base(run)
        of_base = against_base.card if against_base else None
        own = run.card
        rows.append(
            Distance(
                run.name,
                pipeline.parent(run),
                own.after.get("kl"),
                of_base.after.get("kl") if of_base else None,
                of_base.after.get("kl_sequence") if of_base else None,
                own.after.get("perplexity"),
                _forgotten(own),
                _forgotten(of_base),
            )
        )
    return rows


def _forgotten(card: Card | None) -> Change | None:
    return card.changes.get("perplexity") if card else None


def costs(pipeline: MeasuredPipeline) -> list[StageCost]:
    """Return what each stage that has ended took, evaluations as well."""
    return [_cost(run) for run in pipeline.runs]


def _cost(run: MeasuredStage) -> StageCost:
    card, trains = run.card, run.algorithm.trains
    speed, sampled = card.tokens_per_second, card.after.get("tokens")
    tokens = sampled if speed is None else speed * card.train_seconds
    return StageCost(
        run.name,
        run.record.algo,
        run.record.state,
        run.record.round,
        run.steps if trains else None,
        card.total_seconds,
        card.train_seconds,
        None if tokens is None else round(tokens),
        card.peak_memory_mib,
    )
