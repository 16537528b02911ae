"""Rows of one kind, and how a batch is drawn from them: by seed and batch, with nothing stored."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol


class Pool(Protocol):
    """Rows from which batches draw."""

    def draw(self, batch: int, drawn: int, count: int) -> list[int]:
        """Return `count` rows for a batch; so many were drawn for the batches before it."""
        ...

    def spare(self, batch: int, attempt: int, count: int) -> list[int]:
        """Return further rows that the batch could have drawn as well, others at each attempt."""
        ...


@dataclass(frozen=True)
class Passes:
    """Each row once in a pass, every pass in an order of its own.

    >>> passes = Passes((7, 8, 9), "0")
    >>> sorted(passes.draw(0, 0, 3)), sorted(passes.draw(0, 0, 2) + passes.draw(1, 2, 1))
    ([7, 8, 9], [7, 8, 9])
    """

    rows: Sequence[int]
    seed: str

    def draw(self, batch: int, drawn: int, count: int) -> list[int]:
        size = len(self.rows)
        places = (divmod(place, size) for place in range(drawn, drawn + count))
        return [
            self.rows[_shuffled(f"{self.seed}:pass:{number}", size)[place]]
            for number, place in places
        ]

    def spare(self, batch: int, attempt: int, count: int) -> list[int]:
        return _sampled(self.rows, count, f"{self.seed}:spare:{batch}:{attempt}")


@dataclass(frozen=True)
class Opening:
    """Rows from easy to hard, of which each batch draws at random from those that are open.

    As in Platanios et al. 2019 (arXiv:1903.09848): rows that are open are all as likely, however
    long they have been, and a batch has none twice unless fewer are open than it has.
    """

    rows: Sequence[int]
    """The easiest first."""
    seed: str
    share_at: Callable[[int], float]
    """The open share at a batch."""
    least: int
    """Rows that are open at the least."""

    def draw(self, batch: int, drawn: int, count: int) -> list[int]:
        return _sampled(self.open_rows(batch), count, f"{self.seed}:{batch}")

    def spare(self, batch: int, attempt: int, count: int) -> list[int]:
        return _sampled(self.open_rows(batch), count, f"{self.seed}:spare:{batch}:{attempt}")

    def open_rows(self, batch: int) -> Sequence[int]:
        """Return the rows that a batch may draw."""
        return self.rows[: max(self.least, math.ceil(self.share_at(batch) * len(self.rows)))]


def _sampled(rows: Sequence[int], count: int, seed: str) -> list[int]:
    """Return so many rows at random, each as often as the others, up to one."""
    whole, rest = divmod(count, len(rows))
    return [*rows] * whole + random.Random(seed).sample(rows, rest)


@lru_cache(maxsize=64)
def _shuffled(seed: str, count: int) -> list[int]:
    places = list(range(count))
    random.Random(seed).shuffle(places)
    return places
