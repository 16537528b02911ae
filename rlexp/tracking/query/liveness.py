"""Liveness of runs: whether a process is at work on them, as far as this machine can tell."""

from __future__ import annotations

import platform
from pathlib import Path

from rlexp.runtime.lock import is_held
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.provenance.environment import HOST_TAG
from rlexp.tracking.query.record import Record
from rlexp.tracking.spool.dead_runs import SpoolStatus
from rlexp.tracking.spool.mlflow_writer import SPOOL_TAG


def folder_on_this_machine(record: Record) -> Path | None:
    """Return the run's folder, if it is on this machine.

    Many machines have an `outputs/1`, and a tag is only a text: the folder is the run's when its
    spool tells of the beginning that MLflow knows.
    """
    folder = record.folder
    if folder is None or not (folder / SPOOL).is_file():
        return None
    return folder if record.tags.get(SPOOL_TAG) in SpoolStatus.read(folder).ids else None


def may_be_alive(record: Record) -> bool:
    """Whether a process may be at work on the run: the lock tells, on the machine that it ran on.

    A run whose folder is gone from this machine is dead; one of another machine may not be.
    """
    folder = folder_on_this_machine(record)
    if folder is None:
        return record.status == "RUNNING" and record.tags.get(HOST_TAG) != platform.node()
    return is_held(folder) or (
        record.status == "RUNNING" and not SpoolStatus.read(folder).ran_on_this_machine
    )


def is_dead(record: Record) -> bool:
    """Whether MLflow takes a run for running that nobody is alive on."""
    return record.status == "RUNNING" and not may_be_alive(record)
