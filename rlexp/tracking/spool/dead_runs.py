"""Runs that MLflow shows as RUNNING though their processes are dead.

SIGKILL, a power cut or an exhausted memory leave no time for a last word. The lock on the run's
folder tells them from those that are alive. The end is written to their spools first, which are the
truth, and shipped from there with everything else that was never sent.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.provenance.environment import HOST_TAG
from rlexp.tracking.spool.mlflow_writer import SPOOL_TAG
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool, read_events

if TYPE_CHECKING:
    from mlflow.entities import Run

DIED = "DIED"
"""Tag `state` of a run that was found dead."""

_AT_MOST = 1000  # runs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpoolStatus:
    """Beginnings and ends of a run, as its spool tells them."""

    ids: frozenset[str]
    """Of its start events; a run that was resumed has one id, a sweep that was has several."""
    host: str | None
    """The machine that it ran on last; None where its beginning is lost."""
    ended: bool
    """Whether the last attempt came to an end of its own."""
    trial_failed: bool
    """Of a sweep: whether a trial of its last attempt failed."""

    @classmethod
    def read(cls, folder: Path) -> SpoolStatus:
        """Return what the spool in a folder tells; without one a run neither began nor ended."""
        ids, host, ended, failed = set(), None, False, False
        if (folder / SPOOL).is_file():
            for event, _ in read_events(folder / SPOOL, kinds=("start", "end", "event")):
                if event["kind"] == "start":
                    ids.add(event["id"])
                    host = event["tags"].get(HOST_TAG, host)
                    ended = failed = False
                elif event["kind"] == "end":
                    ended = True
                elif event.get("event") == "failed":
                    failed = True
        return cls(frozenset(ids), host, ended, failed)

    @property
    def ran_on_this_machine(self) -> bool:
        """Whether it ran on this machine, so that its lock can be trusted."""
        return self.host == platform.node()


def close_dead_run(folder: Path) -> bool:
    """Write the end of a run that did not come to it; return whether there was anything to end.

    Hold its lock meanwhile. Raises `OSError` where the spool cannot be written.
    """
    status = SpoolStatus.read(folder)
    if status.ended or not status.ran_on_this_machine:
        return False
    path = folder / SPOOL
    died = path.stat().st_mtime_ns // 1_000_000  # when it appended its last event
    with Spool(path) as spool:
        spool.append({"t": died, "kind": "tags", "tags": {"state": DIED}})
        spool.append({"t": died, "kind": "end", "status": "KILLED"})
    return True


def close_dead_runs(shipper: Shipper, should_stop: Callable[[], bool]) -> None:
    """End the dead runs of an experiment: this machine's, whose folders are still there.

    Args:
        shipper: of a run that is alive, with its store open.
        should_stop: asked between two steps; True leaves the rest for the next run.

    Raises `OSError` where a spool cannot be written, and what MLflow raises.
    """
    store = shipper.store
    if store is None:
        raise RuntimeError("the store has not been opened")
    running = f"attributes.status = 'RUNNING' AND tags.{HOST_TAG} = '{platform.node()}'"
    for run in store.client.search_runs([store.experiment_id], running, max_results=_AT_MOST):
        folder = Path(run.data.tags.get("folder", ""))
        if should_stop():
            return
        if folder.is_absolute() and folder != shipper.folder.absolute():
            _close_if_dead(run, folder, shipper, should_stop)


def _close_if_dead(
    run: Run, folder: Path, living: Shipper, should_stop: Callable[[], bool]
) -> None:
    """End a run that MLflow takes for running, unless its lock shows that somebody is alive."""
    try:
        with lock(folder):
            # A folder that was used again is another run's.
            if run.data.tags.get(SPOOL_TAG) in SpoolStatus.read(folder).ids:
                if close_dead_run(folder):
                    log.info("%s had died; it is ended now", folder)
                Shipper(folder, living.uri, living.experiment).ship(should_stop)
    except (Held, FileNotFoundError, PermissionError):
        return  # alive, or gone, or somebody else's
