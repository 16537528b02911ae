"""How the processes of a run learn each other's rewards.

A batch is shared out over the processes, but a term's scale, its mean and the share of its values
that are missing are those of the whole batch. So every process sees all values, in the same order,
computes the same from them, and takes its own part of the result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from rlexp.spec.reward import Value

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class SingleProcess:
    """The only process of a run, whose part of a batch is all of it."""

    def gather_rows(self, rows: list[list[Value]]) -> tuple[list[list[Value]], slice]:
        """Return all processes' rows, as many and as long in each, by rank, and where this one's
        stand.
        """
        return rows, slice(0, len(rows))

    def first_given(self, candidate: T | None) -> T | None:
        """Return the candidate of the first process that has one; None where none has."""
        return candidate


class AllGather(SingleProcess):
    """Processes connected by accelerate; each must ask the same at the same time."""

    def gather_rows(self, rows: list[list[Value]]) -> tuple[list[list[Value]], slice]:
        import torch
        from accelerate import PartialState
        from accelerate.utils import gather

        state = PartialState()
        numbers = [[math.nan if value is None else value for value in row] for row in rows]
        local = torch.tensor(numbers, dtype=torch.float64, device=state.device)
        gathered: torch.Tensor = gather(local)  # pyright: ignore[reportAssignmentType]
        start = state.process_index * len(rows)
        found = gathered.tolist()
        all_rows = [[None if math.isnan(value) else value for value in row] for row in found]
        return all_rows, slice(start, start + len(rows))

    def first_given(self, candidate: T | None) -> T | None:
        from accelerate.utils import gather_object

        given = (other for other in gather_object([candidate]) if other is not None)
        return next(given, None)
