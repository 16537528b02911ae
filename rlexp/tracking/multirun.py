"""The MLflow run of a whole multirun, under which its runs are folded: a Hydra callback.

Runs, in whatever process they are, find the parent through `parent.json` in the multirun's folder.
Hydra turns an exception in a callback into a warning. An address that can never work is reported in
full by the first run.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from rlexp.tracking.parent_run import ParentRun
from rlexp.tracking.query.record import SWEEP_TAG


class MultirunParent(Callback):
    """Begins the parent run before the first trial, and ends it after the last."""

    def __init__(self) -> None:
        self._run: ParentRun | None = None

    def __reduce__(self) -> tuple[type[MultirunParent], tuple[()]]:
        # joblib and submitit send it along with each trial, where nothing is to be open.
        return type(self), ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.tracking.uri is None:
            return
        self._run = _parent(config)
        words = " ".join(config.hydra.overrides.task)
        tags = {**config.tracking.tags, SWEEP_TAG: words}
        name = f"sweep of {config.name}"
        tracking = config.tracking
        self._run.begin(tracking.uri, tracking.experiment, uuid.uuid4().hex, name, tags)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed = job_return.status == JobStatus.FAILED
        if failed and config.hydra.mode == RunMode.MULTIRUN and config.tracking.uri is not None:
            # The launcher may have put this trial into another process: only files are shared.
            _parent(config).record("event", event="failed", job=config.hydra.job.num)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if self._run is not None:
            self._run.end("FINISHED")


def _parent(config: DictConfig) -> ParentRun:
    return ParentRun(Path(config.hydra.sweep.dir), "sweep", "trials")
