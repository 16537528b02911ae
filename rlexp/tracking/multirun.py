"""The MLflow run of a whole multirun, under which its runs are folded: a Hydra callback.

Runs, in whatever process they are, find the parent through `parent.json` in the multirun's folder.
That has a spool of its own, so that its beginning and its end reach MLflow in the way that a run's
do. Hydra turns an exception in a callback into a warning. An address that can never work is
reported in full by the first run.
"""

from __future__ import annotations

import atexit
import logging
import shlex
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.provenance import environment
from rlexp.tracking.query.record import SWEEP_TAG
from rlexp.tracking.spool.dead_runs import SpoolStatus
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool
from rlexp.tracking.store.connection import resolve

_PATIENCE = 30.0
"""Seconds that a sweep waits for the store, once."""

log = logging.getLogger(__name__)


class MultirunParent(Callback):
    """Begins the parent run before the first trial, and ends it after the last."""

    def __init__(self) -> None:
        self._shipper: Shipper | None = None
        self._folder = Path()
        self._lock = ExitStack()

    def __reduce__(self) -> tuple[type[MultirunParent], tuple[()]]:
        # joblib and submitit send it along with each trial, where nothing is to be open.
        return type(self), ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.tracking.uri is None:
            return
        self._folder = Path(config.hydra.sweep.dir).absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        uri = resolve(config.tracking.uri)
        try:
            self._lock.enter_context(lock(self._folder))
        except Held as held:
            log.warning("%s: the trials of this sweep stand alone in MLflow", held)
            return
        self._shipper = Shipper(self._folder, uri, config.tracking.experiment)
        tags = {
            **config.tracking.tags,
            **environment.tags(environment.repository()),
            "folder": str(self._folder),
            SWEEP_TAG: " ".join(config.hydra.overrides.task),
        }
        start = {"id": uuid.uuid4().hex, "name": f"sweep of {config.name}", "parent": None}
        _record(self._folder, "start", tags=tags, sweep=True, **start)
        # Ctrl-C and a failed trial leave Hydra without a call of on_multirun_end.
        atexit.register(self._finish, "KILLED")
        if problem := self._shipper.try_to_ship(_PATIENCE):
            log.warning("The sweep's own run is not in MLflow, its trials stand alone: %s", problem)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed = job_return.status == JobStatus.FAILED
        if failed and config.hydra.mode == RunMode.MULTIRUN and config.tracking.uri is not None:
            # The launcher may have put this trial into another process: only files are shared.
            folder = Path(config.hydra.sweep.dir).absolute()
            _record(folder, "event", event="failed", job=config.hydra.job.num)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._finish("FINISHED")

    def _finish(self, status: str) -> None:
        if self._shipper is None:
            return
        failed = SpoolStatus.read(self._folder).trial_failed
        _record(self._folder, "end", status="FAILED" if failed else status)
        if problem := self._shipper.try_to_ship(_PATIENCE):
            later = f"python -m rlexp sync {shlex.quote(str(self._folder))}"
            log.warning("The sweep's end is not in MLflow (%s). Send it later: %s", problem, later)
        self._shipper = None
        self._lock.close()
        atexit.unregister(self._finish)


def _record(folder: Path, kind: str, **fields: Any) -> None:
    """Append to the spool, which several processes of the multirun do."""
    with Spool(folder / SPOOL) as spool:
        spool.record(kind, **fields)
