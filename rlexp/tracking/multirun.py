"""The MLflow run of a whole sweep, under which its trials are folded.

A Hydra callback, put into `hydra.callbacks`. Trials, in whatever process they run, find the parent
through `parent.json` in the sweep's folder. The sweep has a spool of its own there, so that its
beginning and its end reach MLflow in the way that a run's do.

Hydra turns an exception in a callback into a warning. An address that can never work is reported in
full by the first trial.
"""

from __future__ import annotations

import atexit
import logging
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.provenance import environment
from rlexp.tracking.spool.dead_runs import SpoolStatus
from rlexp.tracking.spool.parent_run import parent_run
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool
from rlexp.tracking.spool.uploader import cause_of
from rlexp.tracking.store.connection import resolve

__all__ = ["MultirunParent", "parent_run"]

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
        self._folder = _sweep_folder(config)
        self._folder.mkdir(parents=True, exist_ok=True)
        uri = resolve(config.tracking.uri)
        try:
            self._lock.enter_context(lock(self._folder))
        except Held as held:
            log.warning("%s: the trials of this sweep stand alone in MLflow", held)
            return
        self._shipper = Shipper(self._folder, uri, config.tracking.experiment)
        tags = OmegaConf.to_container(config.tracking.tags, resolve=True)
        assert isinstance(tags, dict)
        tags |= environment.tags(environment.repository())
        tags |= {
            "folder": str(self._folder),
            "sweep.overrides": " ".join(config.hydra.overrides.task),
        }
        start = {"id": uuid.uuid4().hex, "name": f"sweep of {config.name}", "parent": None}
        _record(self._folder, "start", tags=tags, sweep=True, **start)
        # Ctrl-C and a failed trial leave Hydra without a call of on_multirun_end.
        atexit.register(self._finish, "KILLED")
        if problem := self._ship():
            log.warning("The sweep's own run is not in MLflow, its trials stand alone: %s", problem)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed = job_return.status == JobStatus.FAILED
        if failed and config.hydra.mode == RunMode.MULTIRUN and config.tracking.uri is not None:
            # The launcher may have put this trial into another process: only files are shared.
            _record(_sweep_folder(config), "event", event="failed", job=config.hydra.job.num)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._finish("FINISHED")

    def _finish(self, status: str) -> None:
        if self._shipper is None:
            return
        failed = SpoolStatus.read(self._folder).trial_failed
        _record(self._folder, "end", status="FAILED" if failed else status)
        if problem := self._ship():
            later = f"python -m rlexp sync {self._folder}"
            log.warning("The sweep's end is not in MLflow (%s). Send it later: %s", problem, later)
        self._shipper = None
        self._lock.close()
        atexit.unregister(self._finish)

    def _ship(self) -> str | None:
        """Return why MLflow did not take all, if it did not: a sweep needs no parent to go on."""
        assert self._shipper is not None
        try:
            self._shipper.open(_PATIENCE)
            self._shipper.ship()
        except Exception as error:
            return cause_of(error)
        return None


def _sweep_folder(config: DictConfig) -> Path:
    return Path(config.hydra.sweep.dir).absolute()


def _record(folder: Path, kind: str, **fields: Any) -> None:
    """Append to the spool, which several processes of the sweep do."""
    with Spool(folder / SPOOL) as spool:
        spool.record(kind, **fields)
