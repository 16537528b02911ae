"""Source of records, as a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from rlexp.tracking.query.conditions import RunFilter
from rlexp.tracking.query.record import Record


class Source(Protocol):
    """A store that records are read from; where it does not answer, methods raise `UserError`."""

    def experiments(self) -> dict[str, str]:
        """Return the ids of the active experiments, and their names."""
        ...

    def search(
        self, experiments: Sequence[str], conditions: Sequence[RunFilter], limit: int | None = None
    ) -> Iterator[Record]:
        """Yield active runs of which all conditions are true, newest first, at most `limit`."""
        ...

    def points(self, run_id: str, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
        """Return values by step of the metrics that were logged; of a step's values the latest."""
        ...
