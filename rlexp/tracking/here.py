"""Runs whose folder is on this machine."""

from __future__ import annotations

from pathlib import Path

from rlexp.tracking.delivery import SPOOL_TAG
from rlexp.tracking.lock import is_held
from rlexp.tracking.record import Record
from rlexp.tracking.spool import SPOOL
from rlexp.tracking.stale import Life


def folder_here(record: Record) -> Path | None:
    """The run's folder, if it is on this machine.

    Many machines have an `outputs/1`, and a tag is only a text: the folder is the run's when its
    spool begins with the id that MLflow knows.
    """
    folder = record.folder
    if folder is None or not (folder / SPOOL).is_file():
        return None
    return folder if record.tags.get(SPOOL_TAG) in Life.of(folder).ids else None


def is_dead(record: Record) -> bool:
    """Whether MLflow takes a run of this machine for running that nobody is alive on."""
    if record.status != "RUNNING":
        return False
    folder = folder_here(record)
    return folder is not None and Life.of(folder).was_here and not is_held(folder)
