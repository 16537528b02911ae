"""Record of a run: what MLflow knows of it, and whether a process is at work on it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from rlexp.runtime.lock import is_held
from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.provenance.environment import HOST_TAG
from rlexp.tracking.spool.dead_runs import SpoolStatus
from rlexp.tracking.spool.mlflow_writer import SPOOL_TAG

PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "sweep.overrides"
"""Only the MLflow run of a whole sweep has it."""
INPUT_TAG = "input."
"""Begins the tags that name the runs whose models or samples a run began with, by the config's key.
"""
PIPELINE_KEY_TAG = "pipeline_key"
"""Only the MLflow run of a whole pipeline has it."""


@dataclass(frozen=True)
class Record:
    """One MLflow run."""

    run_id: str
    name: str
    experiment_id: str
    status: str
    """RUNNING, FINISHED, FAILED or KILLED, as far as MLflow knows."""
    started: int
    """Milliseconds since 1970."""
    ended: int | None
    """The same; None while it runs."""
    folder: Path | None
    """The run's folder, which may be on another machine."""
    parent: str | None
    """MLflow run of the sweep that it belongs to."""
    params: dict[str, str]
    metrics: dict[str, float]
    """Each metric's latest value."""
    tags: dict[str, str]

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for a whole sweep or pipeline, whose trials or stages are runs of their
        own."""
        return SWEEP_TAG in self.tags or PIPELINE_KEY_TAG in self.tags

    @property
    def local_folder(self) -> Path | None:
        """The run's folder, if it is on this machine.

        Many machines have an `outputs/1`, and a tag is only a text: the folder is the run's when
        its spool tells of the beginning that MLflow knows.
        """
        if self.folder is None or not (self.folder / SPOOL).is_file():
            return None
        is_same = self.tags.get(SPOOL_TAG) in SpoolStatus.read(self.folder).ids
        return self.folder if is_same else None

    @property
    def may_be_alive(self) -> bool:
        """Whether a process may be at work on it: the lock tells, on the machine that it ran on.

        A run whose folder is gone from this machine is dead; one of another machine may not be.
        """
        folder, is_running = self.local_folder, self.status == "RUNNING"
        if folder is None:
            return is_running and self.tags.get(HOST_TAG) != platform.node()
        return is_held(folder) or (is_running and not SpoolStatus.read(folder).ran_on_this_machine)

    @property
    def is_dead(self) -> bool:
        """Whether MLflow takes a run for running that nobody is alive on."""
        return self.status == "RUNNING" and not self.may_be_alive
