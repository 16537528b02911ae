"""What is known of a run that is in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rlexp.tracking.query.conditions import Condition

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


class Source(Protocol):
    """Where records are read. Its methods raise `UserError` when the store does not answer."""

    def experiments(self) -> dict[str, str]:
        """Ids of the active experiments, and their names."""
        ...

    def search(
        self, experiments: Sequence[str], conditions: Sequence[Condition], limit: int | None = None
    ) -> Iterator[Record]:
        """Active runs of which all conditions are true, newest first, at most `limit`."""
        ...

    def points(self, run_id: str, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
        """Values by step of the metrics that were logged; of a step's values the latest."""
        ...
