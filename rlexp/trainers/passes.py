"""The order of rows that are passed over again and again, by the seed alone."""

from __future__ import annotations

from functools import lru_cache

import torch


def rows_of_passes(seed: int, start: int, count: int, total: int) -> list[int]:
    """Return the rows from a place on in the endless sequence of passes over them.

    Args:
        seed: of the order; each pass has another one.
        start: rows before.
        count: rows that are wanted.
        total: rows of a pass.
    """
    places = (divmod(place, total) for place in range(start, start + count))
    return [_row_order(seed, epoch, total)[place] for epoch, place in places]


@lru_cache(maxsize=2)
def _row_order(seed: int, epoch: int, count: int) -> list[int]:
    """Return the order of the rows in one pass over them."""
    generator = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(count, generator=generator).tolist()
