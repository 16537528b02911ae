"""Where records come from, as a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rlexp.tracking.query.conditions import RunFilter
from rlexp.tracking.query.record import Record


class Source(Protocol):
    """Where records are read. Its methods raise `UserError` when the store does not answer."""

    def experiments(self) -> dict[str, str]:
        """Ids of the active experiments, and their names."""
        ...

    def search(
        self, experiments: Sequence[str], conditions: Sequence[RunFilter], limit: int | None = None
    ) -> Iterator[Record]:
        """Active runs of which all conditions are true, newest first, at most `limit`."""
        ...

    def points(self, run_id: str, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
        """Values by step of the metrics that were logged; of a step's values the latest."""
        ...
