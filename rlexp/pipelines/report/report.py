"""The report of a whole pipeline: what each stage bought and cost, and what to distrust.

`report.json` is the dataclass here, key by key; `report.html` is the same for people. Both can be
written at any time: stages that have not run are named, and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rlexp.pipelines.family.recorded import RecordedStage
from rlexp.pipelines.report import wording
from rlexp.pipelines.report.answers import AnsweredPrompt, side_by_side, unanswered_notes
from rlexp.pipelines.report.costs import Distance, StageCost, costs, distances
from rlexp.pipelines.report.over_optimisation import RewardCurve, reward_curves
from rlexp.pipelines.report.reward_models import (
    GoldAgreement,
    RewardModelQuality,
    gold_agreements,
    reward_models,
)
from rlexp.pipelines.report.rivals import Rivalry, branch_ends, rivalries
from rlexp.pipelines.report.runs import EVALUATED, MeasuredPipeline
from rlexp.pipelines.report.scales import Standings, measurements, standings
from rlexp.rendering.numbers import finite, number, short
from rlexp.runtime.files import write_atomically


@dataclass(frozen=True)
class PipelineReport:
    """All that there is to say of a pipeline, as far as it came."""

    name: str
    status: str
    run_id: str
    words: list[str]
    """Of the command line."""
    folder: str
    headline: str
    """The result in a line."""
    findings: list[str]
    """A sentence each: what every stage bought, and how branches compare."""
    alarms: list[str]
    """Where a policy was over-optimised."""
    warnings: list[str]
    """What the stages' cards warn of."""
    notes: list[str]
    """What is not there, and why."""
    base: str
    """The model that the first stage begins with."""
    policies: list[str]
    """Bases and stages that write, in their order."""
    stages: list[RecordedStage]
    """All but evaluations."""
    remarks: dict[str, str]
    """What came of a stage in a few words, by its name."""
    standings: list[Standings]
    """The scale that matters most first."""
    rivalries: list[Rivalry]
    distances: list[Distance]
    costs: list[StageCost]
    reward_models: list[RewardModelQuality]
    agreements: list[GoldAgreement]
    curves: list[RewardCurve]
    prompts: list[AnsweredPrompt]

    def to_json(self, path: Path) -> None:
        """Write `report.json`; what is not finite is null."""
        content = finite(asdict(self))
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        write_atomically(path, text + "\n")


def build_pipeline_report(folder: Path) -> PipelineReport:
    """Return the report of the pipeline in a folder.

    Raises:
        FileNotFoundError: there is none.
        UserError: a stage's config cannot be read.
    """
    pipeline = MeasuredPipeline.read(folder)
    scales, found = measurements(pipeline)
    tables = standings(pipeline, scales, found)
    main = tables[0] if tables else None
    agreements = gold_agreements(pipeline, found)
    curves = reward_curves(pipeline, found, agreements)
    models = reward_models(pipeline)
    rivals = rivalries(pipeline, found, main)
    bases = dict.fromkeys(pipeline.base(run) for run in pipeline.policies)
    policies = [*bases, *(run.name for run in pipeline.policies)]
    prompts = side_by_side(policies, found, main.scale.label if main else None)
    record = pipeline.record
    return PipelineReport(
        name=record.name,
        status=record.status,
        run_id=record.run_id,
        words=record.words,
        folder=str(folder),
        headline=wording.headline(_stem(pipeline, main), main, len(record.stages)),
        findings=[
            *_stage_findings(main),
            *(wording.rival_sentence(one, main.scale.label) for one in rivals if main),
            *(text for model in models for text in wording.reward_model_sentences(model)),
            *map(wording.agreement_sentence, agreements),
            *(wording.curve_sentence(curve) for curve in curves if not curve.over_optimised),
        ],
        alarms=[wording.curve_sentence(curve) for curve in curves if curve.over_optimised],
        warnings=[f"{run.name}: {text}" for run in pipeline.runs for text in run.card.guards],
        notes=[*pipeline.notes, *_unmeasured(pipeline), *unanswered_notes(policies, prompts)],
        base=next(iter(bases), "base"),
        policies=policies,
        stages=[stage for stage in record.stages if EVALUATED not in stage.parents],
        remarks=_remarks(pipeline, main),
        standings=tables,
        rivalries=rivals,
        distances=distances(pipeline),
        costs=costs(pipeline),
        reward_models=models,
        agreements=agreements,
        curves=curves,
        prompts=prompts,
    )


def _stem(pipeline: MeasuredPipeline, main: Standings | None) -> list[str]:
    """Return the way from the base to the best end of a branch."""
    if main is None:
        return []
    ends = set(branch_ends(pipeline))
    reached = [row for row in main.rows if row.policy in ends] or main.rows
    name: str | None = max(reached, key=lambda row: row.value).policy
    by_name = {run.name: run for run in pipeline.policies}
    way: list[str] = []
    while name is not None:
        way.insert(0, name)
        name = pipeline.parent(by_name[name]) if name in by_name else None
    return way


def _stage_findings(main: Standings | None) -> Iterator[str]:
    for row in main.rows if main else ():
        if sentence := wording.stage_sentence(row, main.scale.label if main else ""):
            yield sentence


def _remarks(pipeline: MeasuredPipeline, main: Standings | None) -> dict[str, str]:
    """Return what came of each stage in a few words."""
    values = {row.policy: row.value for row in main.rows} if main else {}
    label = main.scale.label if main else ""
    remarks = {name: f"{label} {short(value)}" for name, value in values.items()}
    for run in pipeline.reward_models:
        remarks[run.name] = f"accuracy {number(run.card.after.get('accuracy'))}"
    for run in pipeline.runs:
        if rows := run.card.after.get("rows"):
            remarks[run.name] = f"{rows:.0f} rows"
    return remarks


def _unmeasured(pipeline: MeasuredPipeline) -> Iterator[str]:
    """Yield which stages were not measured against the base, or by a gold reward."""
    lacking = [run.name for run in pipeline.policies if pipeline.against_base(run) is None]
    if lacking:
        yield (
            f"Not measured against the base: {', '.join(lacking)}. KL and forgetting since the "
            "base are known of stages with an evaluation of their own (STAGE@base)."
        )
    for run in pipeline.policies:
        if run.algorithm.needs_reward and not run.config["eval"]["gold"]:
            word = f"+stage.{run.name}.reward@eval.gold.sentiment=sentiment"
            yield f"{run.name} was not measured by a gold reward beside its own: {word} adds one."
