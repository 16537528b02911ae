"""The rows of each batch of a training.

They follow from the seed, the number of the batch and, where a pace follows the reward, from what
it has opened: so every process draws the same, and a training that goes on from a checkpoint draws
what it would have drawn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlexp.curriculum.pools import Opening, Passes, Pool
from rlexp.spec.curriculum import Pacer
from rlexp.spec.schedule import UNIT, Weight

ALL = "all"
"""Name of the one source of rows that are not weighted."""


@dataclass(frozen=True)
class BatchShape:
    """What a trainer takes at once: new rows, and how long it learns from them."""

    rows: int
    """Different rows, over all processes; answers to one prompt share one."""
    repeats: int = 1
    """Times that each process takes them: backward passes, where all learn from one batch."""
    accumulation: int = 1
    """Such passes an optimizer step."""

    def step_at(self, batch: int) -> int:
        """Return the optimizer steps done when a batch's turn comes."""
        return batch * self.repeats // self.accumulation

    def batches(self, steps: int) -> int:
        """Return the batches that so many optimizer steps use."""
        return math.ceil(steps * self.accumulation / self.repeats)

    @property
    def steps(self) -> int:
        """Optimizer steps on one batch; 1 where a step takes several."""
        return max(1, math.ceil(self.repeats / self.accumulation))


class Quotas:
    """How many rows of each source come into each batch.

    Each place in turn goes to the source that is furthest behind its share, so that over any number
    of batches the drawn shares are the weights' to within a row or two, without chance.

    >>> quotas = Quotas(4, lambda batch: {"a": 3.0, "b": 1.0})
    >>> quotas.at(0), quotas.at(1)
    ([('a', 0, 3), ('b', 0, 1)], [('a', 3, 3), ('b', 1, 1)])
    """

    def __init__(self, size: int, weights_at: Callable[[int], Mapping[str, float]]) -> None:
        self.size, self.weights_at = size, weights_at
        self._behind: dict[str, float] = {}
        self._drawn: dict[str, int] = {}
        self._batches: list[list[tuple[str, int, int]]] = []

    def at(self, batch: int) -> list[tuple[str, int, int]]:
        """Return of each source its name, the rows drawn before a batch, and those in it."""
        while len(self._batches) <= batch:
            weights = self.weights_at(len(self._batches))
            counts = allot(self.size, weights, self._behind)
            self._batches.append(
                [(name, self._drawn.get(name, 0), n) for name, n in counts.items()]
            )
            for name, count in counts.items():
                self._drawn[name] = self._drawn.get(name, 0) + count
        return self._batches[batch]


def allot(size: int, weights: Mapping[str, float], behind: dict[str, float]) -> dict[str, int]:
    """Return how many of `size` places each weighted name gets; a weight of 0 gets none.

    `behind` has how many places each is short of its share, and is brought up to date.
    """
    total = sum(weights.values())
    counts = {name: 0 for name, weight in weights.items() if weight > 0}
    for _ in range(size):
        for name in counts:
            behind[name] = behind.get(name, 0.0) + weights[name] / total
        first = max(counts, key=behind.__getitem__)
        behind[first] -= 1.0
        counts[first] += 1
    return counts


class RowOrder:
    """Gives the places of the rows of each batch."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        weights_at: Callable[[int], Mapping[str, float]],
        size: int,
        seed: int,
    ) -> None:
        """
        Args:
            pools: the rows of each source.
            weights_at: of the sources, at a batch.
            size: rows a batch.
            seed: of the order in a batch.
        """
        self.pools, self.weights_at, self.seed = pools, weights_at, seed
        self._quotas = Quotas(size, weights_at)

    def rows_at(self, batch: int) -> list[int]:
        """Return the rows of a batch, over all processes, shuffled."""
        rows = [
            row
            for name, drawn, count in self._quotas.at(batch)
            for row in self.pools[name].draw(batch, drawn, count)
        ]
        random.Random(f"{self.seed}:batch:{batch}").shuffle(rows)
        return rows

    def spare_rows(self, batch: int, attempt: int, count: int) -> list[int]:
        """Return further rows for a batch, drawn with its weights; others at each attempt."""
        rows = [
            row
            for name, number in allot(count, self.weights_at(batch), {}).items()
            for row in self.pools[name].spare(batch, attempt, number)
        ]
        random.Random(f"{self.seed}:spare:{batch}:{attempt}").shuffle(rows)
        return rows


@dataclass(frozen=True)
class Curriculum:
    """How a run draws from its training rows, before it is known how many a batch has."""

    seed: int
    sources: Mapping[str, Sequence[int]]
    """The places of the rows, the easiest first where there is a pacer; by what they are weighted
    by, or of one name."""
    weights: Mapping[str, Weight]
    """The sources' over the training; of a source that has none it is 1."""
    pacer: Pacer | None = None
    """Opens rows from the easy ones on; None draws from all in random passes."""

    def order(self, shape: BatchShape) -> RowOrder:
        """Return the order in which a trainer's batches draw."""

        def weights_at(batch: int) -> dict[str, float]:
            step = shape.step_at(batch)
            return {name: self.weights.get(name, UNIT).at(step) for name in self.sources}

        pools = {name: self._pool(name, shape) for name in self.sources}
        return RowOrder(pools, weights_at, shape.rows, self.seed)

    def _pool(self, name: str, shape: BatchShape) -> Pool:
        rows, seed, pacer = self.sources[name], f"{self.seed}:{name}", self.pacer
        if pacer is None:
            return Passes(rows, seed)
        least = min(shape.rows, len(rows))
        return Opening(rows, seed, lambda batch: pacer.share(shape.step_at(batch)), least)


def uniform(seed: int, rows: int) -> Curriculum:
    """Return a curriculum that draws from all of so many rows alike."""
    return Curriculum(seed, {ALL: range(rows)}, {})
