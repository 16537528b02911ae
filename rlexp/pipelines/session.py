"""One command's work on a pipeline: begun, shown, recorded, reported on, ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from rlexp.pipelines.execution import PipelineRun, StageResult
from rlexp.pipelines.family.description import TREE_PICTURE, describe_pipeline
from rlexp.pipelines.family.recorded import RecordedPipeline
from rlexp.pipelines.orders import Orders
from rlexp.pipelines.planning.planned import PipelinePlan
from rlexp.pipelines.record import PipelineRecord, pipeline_folder
from rlexp.pipelines.report.terminal import print_pipeline_report
from rlexp.pipelines.report.write import REPORT_PAGE, report_files, write_pipeline_report
from rlexp.pipelines.stage_key import StageKey, pipeline_key
from rlexp.pipelines.stage_runs import finished_run, folder_of
from rlexp.rendering.progress import Terminal
from rlexp.runtime.run_folder import PIPELINE
from rlexp.spec.errors import RunFailed, UserError


def run_plan(
    plan: PipelinePlan,
    keys: Mapping[str, StageKey],
    orders: Orders,
    folder: Path | None = None,
) -> Path:
    """Run a pipeline's stages that have not finished; return its folder.

    Args:
        plan: the pipeline.
        keys: of its stages.
        orders: what of it is run.
        folder: the pipeline's, if it is not the one of its key.

    Raises:
        UserError, RunFailed, Pruned: as the stage does that ends it.
    """
    key = pipeline_key(plan, keys)
    folder = folder or pipeline_folder(key)
    if not orders.forced and orders.whole and is_finished(plan, keys, folder):
        for stage in plan.stages:
            print(f"stage {stage.name} is there: {folder_of(keys[stage.name].key)}")
        print(f"report: {folder / REPORT_PAGE}")
        return folder
    record = PipelineRecord(plan, folder, key)
    parent = record.begin()
    terminal = Terminal()

    def show(run: PipelineRun, result: StageResult) -> None:
        record.write(run)
        record.stage_finished(run, result)
        terminal.say(_line(run, result))

    run = PipelineRun(plan, keys, orders, show, parent)
    record.write(run)
    status = "FINISHED"
    try:
        run.run()
    except BaseException as error:
        status = "FAILED" if isinstance(error, (UserError, RunFailed)) else "KILLED"
        command = shlex.join(["python", "-m", "rlexp", *plan.words])
        error.add_note(f"or with the whole pipeline: {command}")
        raise
    finally:
        record.write(run, status)
        if status == "FINISHED" and orders.reports:
            _report(record)
        record.end(status)
    return record.folder


def is_finished(plan: PipelinePlan, keys: Mapping[str, StageKey], folder: Path) -> bool:
    """Return whether nothing is left to do of a pipeline, whose report is written."""
    if not (folder / PIPELINE).is_file() or not (folder / REPORT_PAGE).is_file():
        return False
    if RecordedPipeline.read(folder).status != "FINISHED":
        return False
    runs = (stage for stage in plan.stages if stage.choice is None)
    return all(finished_run(stage, keys[stage.name].key, None) for stage in runs)


def _report(record: PipelineRecord) -> None:
    """Write what came of the stages, print it, and show the family tree in MLflow."""
    report = write_pipeline_report(record.folder)
    print_pipeline_report(report, Console())
    record.describe(describe_pipeline(record.folder))
    for file in [TREE_PICTURE, *(file.name for file in report_files(record.folder))]:
        record.artifact(file)


def _line(run: PipelineRun, result: StageResult) -> str:
    """Return what is told when a stage changes its state."""
    names = list(run.results)
    place = f"stage {names.index(result.stage.name) + 1} of {len(names)}: {result.stage.name}"
    if result.chosen:
        return f"{place} is {result.chosen}"
    if result.state == "used" and result.run:
        return f"{place} is there: {result.run.folder}"
    return f"{place} {result.state}"
