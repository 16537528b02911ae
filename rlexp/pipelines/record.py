"""What a pipeline leaves: `pipeline.json` in its folder, and an MLflow run with its stages below.

The stages' runs are linked there with the models that they began with: as MLflow's logged inputs,
and as tags that name the runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlexp.pipelines.execution import PipelineRun, StageResult
from rlexp.pipelines.planning.planned import PipelinePlan
from rlexp.runtime.files import write_atomically
from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import PIPELINE, SPOOL
from rlexp.spec.run import RunSpec
from rlexp.tracking.parent_run import ParentRun
from rlexp.tracking.query.record import PIPELINE_KEY_TAG
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool
from rlexp.tracking.store.connection import resolve

PIPELINES = Path("outputs/pipelines")
"""Folder of the pipelines, below the current one."""
_DIGITS = 16


def pipeline_folder(key: str) -> Path:
    """Return the folder of the pipeline with a key."""
    return (PIPELINES / key[:_DIGITS]).absolute()


class PipelineRecord:
    """Keeps what becomes of a pipeline, as it comes."""

    def __init__(self, plan: PipelinePlan, folder: Path, key: str) -> None:
        self.plan, self.folder = plan, folder
        self._tracking = next(stage.spec.tracking for stage in plan.stages if stage.spec)
        self._parent = ParentRun(folder, "pipeline", "stages")
        self._identity = key

    def begin(self) -> str | None:
        """Begin the pipeline's MLflow run; return its id, None without a store."""
        if self._tracking.uri is None:
            return None
        tags = {**self._tracking.tags, "pipeline": self.plan.name, PIPELINE_KEY_TAG: self._identity}
        name = f"pipeline {self.plan.name}"
        uri, experiment = self._tracking.uri, self._tracking.experiment
        self._parent.begin(uri, experiment, self._identity, name, tags)
        return self._parent.run_id

    def write(self, run: PipelineRun, status: str = "RUNNING") -> None:
        """Write how far the pipeline has come."""
        tracking = self._tracking
        content = {
            "name": self.plan.name,
            "status": status,
            "run_id": self._parent.run_id,
            "words": list(self.plan.words),
            "key": self._identity,
            "tracking": {"uri": tracking.uri, "experiment": tracking.experiment},
            "stages": [_fields(result) for result in run.results.values()],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_atomically(self.folder / PIPELINE, text + "\n")

    def stage_finished(self, run: PipelineRun, result: StageResult) -> None:
        """Link a stage's run in MLflow to those of the stages that it used."""
        spec, stage_run = result.stage.spec, result.run
        if result.state != "finished" or stage_run is None or spec is None:
            return
        inputs = dict(_inputs(run, result))
        if inputs:
            _send_inputs(stage_run.folder, spec, inputs)

    def describe(self, text: str) -> None:
        """Set the Markdown text of the pipeline's MLflow run."""
        if self._tracking.uri is not None:
            self._parent.record("note", text=text)

    def artifact(self, path: str) -> None:
        """Upload a file of the pipeline's folder to its MLflow run."""
        if self._tracking.uri is not None:
            self._parent.record("artifact", path=path, folder=None)

    def end(self, status: str) -> None:
        """End the pipeline's MLflow run."""
        self._parent.end(status)


def _fields(result: StageResult) -> dict[str, Any]:
    stage = result.stage
    return {
        "name": stage.name,
        "key": result.key.key,
        "folder": str(result.run.folder) if result.run else None,
        "run_id": result.run.run_id if result.run else None,
        "algo": stage.spec.algo.name if stage.spec else None,
        "made": stage.made,
        "state": result.state,
        "parents": {key: ", ".join(names) for key, names in stage.parents.items()},
        "round": stage.definition.round,
        "seconds": result.seconds,
        "chosen": result.chosen,
    }


def _inputs(run: PipelineRun, result: StageResult) -> Iterator[tuple[str, str]]:
    for key, names in result.stage.parents.items():
        for number, name in enumerate(names):
            parent = run.results[name].run
            if parent is not None and run.results[name].stage.made != "samples":
                yield (key if len(names) == 1 else f"{key}.{number}"), parent.run_id


def _send_inputs(folder: Path, spec: RunSpec, inputs: dict[str, str]) -> None:
    """Write the runs that a run began with to its spool, and send it."""
    try:
        with lock(folder):
            with Spool(folder / SPOOL) as spool:
                spool.record("inputs", runs=inputs)
            if spec.tracking.uri is not None:
                tracking = spec.tracking
                Shipper(folder, resolve(str(tracking.uri)), tracking.experiment).try_to_ship(5.0)
    except Held:
        return  # whoever sends the folder's spool now is not kept from it; `sync` sends the rest
