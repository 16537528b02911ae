"""The MLflow run of a whole sweep, under which its trials are folded.

A Hydra callback, put into `hydra.callbacks`. Trials, in whatever process they run, find the parent
through `parent.json` in the sweep's folder. The sweep has a spool of its own there, so that its
beginning and its end reach MLflow in the way that a run's do.

Hydra turns an exception in a callback into a warning. An address that can never work is reported in
full by the first trial.
"""

from __future__ import annotations

import atexit
import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rlexp.tracking import provenance
from rlexp.tracking.redaction import redacted, redacted_values
from rlexp.tracking.shipper import Shipper
from rlexp.tracking.spool import SPOOL, Spool, read_events
from rlexp.tracking.store import resolve

PARENT = "parent.json"

log = logging.getLogger(__name__)


def parent_run(sweep_folder: Path) -> str | None:
    """The sweep's MLflow run; None when it has none, or when MLflow did not answer."""
    path = sweep_folder / PARENT
    return json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else None


class MultirunParent(Callback):
    """Begins the parent run before the first trial, and ends it after the last."""

    def __init__(self) -> None:
        self._shipper: Shipper | None = None
        self._folder = Path()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.tracking.uri is None:
            return
        self._folder = _sweep_folder(config)
        self._folder.mkdir(parents=True, exist_ok=True)
        uri = resolve(config.tracking.uri)
        self._shipper = Shipper(self._folder, uri, config.tracking.experiment)
        tags = OmegaConf.to_container(config.tracking.tags, resolve=True)
        assert isinstance(tags, dict)
        tags |= provenance.tags(provenance.repository())
        tags["sweep.overrides"] = " ".join(config.hydra.overrides.task)
        start = {"id": uuid.uuid4().hex, "name": f"sweep of {config.name}", "parent": None}
        _append(self._folder, "start", tags=tags, **start)
        # Ctrl-C and a failed trial leave Hydra without a call of on_multirun_end.
        atexit.register(self._finish, "KILLED")
        if self._ship():
            run = json.dumps({"run_id": self._shipper.run_id})
            (self._folder / PARENT).write_text(run, encoding="utf-8")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        failed = job_return.status == JobStatus.FAILED
        if failed and config.hydra.mode == RunMode.MULTIRUN and config.tracking.uri is not None:
            # The launcher may have put this trial into another process: only files are shared.
            _append(_sweep_folder(config), "event", event="failed", job=config.hydra.job.num)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._finish("FINISHED")

    def _finish(self, status: str) -> None:
        if self._shipper is None:
            return
        events = [event for event, _ in read_events(self._folder / SPOOL)]
        start = max(i for i, event in enumerate(events) if event["kind"] == "start")
        failed = any(event.get("event") == "failed" for event in events[start:])
        _append(self._folder, "end", status="FAILED" if failed else status)
        self._ship()
        self._shipper = None
        atexit.unregister(self._finish)

    def _ship(self) -> bool:
        """Whether MLflow took all. What went wrong is told; a sweep needs no parent to go on."""
        assert self._shipper is not None
        try:
            self._shipper.ship()
        except Exception as error:
            cause = redacted(f"{type(error).__name__}: {error}".splitlines()[-1])
            log.warning("The sweep's own run is not in MLflow, its trials stand alone: %s", cause)
            return False
        return True


def _sweep_folder(config: DictConfig) -> Path:
    return Path(config.hydra.sweep.dir).absolute()


def _append(folder: Path, kind: str, **fields: Any) -> None:
    spool = Spool(folder / SPOOL)
    spool.append({"t": time.time_ns() // 1_000_000, "kind": kind, **redacted_values(fields)})
    spool.close()
