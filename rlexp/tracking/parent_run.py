"""An MLflow run under which others are folded: of a multirun, or of a pipeline.

It has a folder with a spool of its own, so that its beginning and its end reach MLflow in the way
that a run's do. Other processes find it by `parent.json` in the folder.
"""

from __future__ import annotations

import atexit
import logging
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.provenance import environment
from rlexp.tracking.spool.dead_runs import SpoolStatus
from rlexp.tracking.spool.mlflow_writer import parent_run
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool
from rlexp.tracking.store.connection import resolve

PATIENCE = 30.0
"""Seconds that the store is waited for, once."""

log = logging.getLogger(__name__)


class ParentRun:
    """The run of a folder, which this process begins and ends.

    Args:
        folder: its own; it is made.
        what: what it is a run of, in messages: `sweep`, `pipeline`.
        children: the same for what is folded under it.
    """

    def __init__(self, folder: Path, what: str, children: str) -> None:
        self.folder = folder.absolute()
        self._what, self._children = what, children
        self._shipper: Shipper | None = None
        self._lock = ExitStack()
        self.folder.mkdir(parents=True, exist_ok=True)

    def begin(
        self, uri: str, experiment: str, identity: str, name: str, tags: dict[str, Any]
    ) -> None:
        """Begin the run, or go on with the one of this identity.

        A store that does not answer is a warning, and so is another process that records it.
        """
        try:
            self._lock.enter_context(lock(self.folder))
        except Held as held:
            log.warning("%s: the %s of this %s stand alone", held, self._children, self._what)
            return
        self._shipper = Shipper(self.folder, resolve(uri), experiment)
        place = {**environment.tags(environment.repository()), "folder": str(self.folder)}
        start = {"id": identity, "name": name, "parent": None, "tags": {**tags, **place}}
        self.record("start", sweep=True, **start)
        # Ctrl-C and a failure leave some callers without a call of `end`.
        atexit.register(self.end, "KILLED")
        if problem := self._shipper.try_to_ship(PATIENCE):
            message = "The %s's own run is not in MLflow, its %s stand alone: %s"
            log.warning(message, self._what, self._children, problem)

    @property
    def run_id(self) -> str | None:
        """Its id in MLflow; None while that has not answered, or without a store."""
        return parent_run(self.folder)

    def record(self, kind: str, **fields: Any) -> None:
        """Append to the spool, which several processes may do."""
        with Spool(self.folder / SPOOL) as spool:
            spool.record(kind, **fields)

    def end(self, status: str) -> None:
        """End the run; FAILED where the spool tells that one of its children has."""
        if self._shipper is None:
            return
        failed = SpoolStatus.read(self.folder).trial_failed
        self.record("end", status="FAILED" if failed else status)
        if problem := self._shipper.try_to_ship(PATIENCE):
            later = f"python -m rlexp sync {shlex.quote(str(self.folder))}"
            message = "The %s's end is not in MLflow (%s). Send it later: %s"
            log.warning(message, self._what, problem, later)
        self._shipper = None
        self._lock.close()
        atexit.unregister(self.end)
