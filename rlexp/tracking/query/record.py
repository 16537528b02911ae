"""Record of a run: what MLflow knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "sweep.overrides"
"""Only the MLflow run of a whole sweep has it."""


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
        """Whether it stands for a whole sweep, whose trials are runs of their own."""
        return SWEEP_TAG in self.tags
