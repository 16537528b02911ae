"""What the processes of a run know of each other's rewards.

A batch is shared out over the processes, but a term's scale, its mean and the share of its values
that are missing are those of the whole batch. So every process sees all values, in the same order,
computes the same from them, and takes its own part of the result.
"""

from __future__ import annotations

import math
from typing import Any

from rlexp.spec.reward import Value


class SingleProcess:
    """One process: all there is, is its own."""

    def everything(self, rows: list[list[Value]]) -> tuple[list[list[Value]], slice]:
        """All processes' rows, the first process's first, and where this one's are.

        Args:
            rows: of values, as many and as long in every process.
        """
        return rows, slice(0, len(rows))

    def first(self, found: Any) -> Any:
        """What the first process that has something found; None where none has."""
        return found


class AllGather(SingleProcess):
    """Processes connected by accelerate; each must ask the same at the same time."""

    def everything(self, rows: list[list[Value]]) -> tuple[list[list[Value]], slice]:
        import torch
        from accelerate import PartialState
        from accelerate.utils import gather

        state = PartialState()
        numbers = [[math.nan if value is None else value for value in row] for row in rows]
        mine = torch.tensor(numbers, dtype=torch.float64, device=state.device)
        everyones: Any = gather(mine)
        start = state.process_index * len(rows)
        whole = [
            [None if math.isnan(value) else value for value in row] for row in everyones.tolist()
        ]
        return whole, slice(start, start + len(rows))

    def first(self, found: Any) -> Any:
        from accelerate.utils import gather_object

        return next((each for each in gather_object([found]) if each is not None), None)
