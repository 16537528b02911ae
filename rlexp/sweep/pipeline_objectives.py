"""What a sweep over a pipeline searches and measures, known before anything runs.

An objective is a metric of a stage, `stage.ppo.eval/reward`; without a stage it is that of the last
one that makes something.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlexp.pipelines.planning.plan import plan_pipeline
from rlexp.pipelines.planning.planned import PipelinePlan, PlannedStage
from rlexp.pipelines.planning.typed_words import STAGE, key_of
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.run import RunSpec
from rlexp.spec.sweep import SweepSpec


def split_objective(name: str) -> tuple[str | None, str]:
    """Return the stage and the metric of an objective; None for the last stage.

    >>> split_objective("stage.ppo.eval/reward")
    ('ppo', 'eval/reward')
    >>> split_objective("eval/reward")
    (None, 'eval/reward')
    """
    if not name.startswith(STAGE):
        return None, name
    stage, _, metric = name.removeprefix(STAGE).partition(".")
    return stage, metric


def last_stage(plan: PipelinePlan) -> PlannedStage:
    """Return the last stage that makes something."""
    return [stage for stage in plan.stages if stage.spec and stage.made != "evaluation"][-1]


def pipeline_words(words: Sequence[str]) -> list[str]:
    """Return the words of a pipeline among those of a trial."""
    return [word for word in words if key_of(word).partition(".")[0].partition("/")[0] != "sweep"]


def measured_by(plan: PipelinePlan, objective: str) -> PlannedStage:
    """Return the stage in which an objective is measured.

    Raises:
        UserError: there is no such stage, or it is a choice.
    """
    name, _ = split_objective(objective)
    if name is None:
        return last_stage(plan)
    stages = {stage.name: stage for stage in plan.stages if stage.spec}
    if name not in stages:
        want = f"{STAGE}NAME.METRIC, of a stage of {', '.join(stages)}"
        remedy = f"Type sweep.objective={STAGE}{last_stage(plan).name}.eval/reward"
        raise UserError(Problem("sweep.objective", objective, want, remedy))
    return stages[name]


def check_pipeline(
    words: Sequence[str], spec: SweepSpec | None
) -> Iterator[tuple[RunSpec, SweepSpec]]:
    """Check the pipeline that words make; yield the run and the objective of each that is measured.

    Raises:
        UserError: with all that is wrong with it.
    """
    with tempfile.TemporaryDirectory(prefix="rlexp-") as scratch:
        plan = plan_pipeline(pipeline_words(words), Path(scratch))
    if spec is None:
        return
    if spec.confirm:
        want = "0: the best pipelines are not run again with other seeds"
        raise UserError(Problem("sweep.confirm", str(spec.confirm), want, "Type sweep.confirm=0"))
    for objective in spec.objectives:
        stage = measured_by(plan, objective)
        assert stage.spec
        metric = split_objective(objective)[1]
        yield stage.spec, spec.model_copy(update={"objective": metric})
