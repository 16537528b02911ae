"""The data of one run that a comparison needs: plain values, wherever they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlexp.comparison.configs import leaves

Points = list[tuple[int, float]]
"""A metric by optimizer step."""
Key = tuple[str, int]
"""A held-out prompt: its text, and how many of the same text stand before it in the evaluation."""


@dataclass(frozen=True)
class Value:
    """A number with the 95 % interval around it where one is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RecordedSample:
    """One completion of the evaluation that is compared."""

    completion: str
    reward: float | None


@dataclass(frozen=True)
class Run:
    """One run, as far as it came."""

    id: str
    name: str
    status: str
    """As the tracker has it (FINISHED, FAILED, KILLED, RUNNING), or "DEAD": it says that it runs,
    but no process does."""
    config: Mapping[str, Any]
    """The composed config."""
    whole_config: bool
    """False where it was not kept: `config` then is flat, and has the keys that are tracked."""
    curves: Mapping[str, Points] = field(repr=False)
    """Every metric by name."""
    evaluated: int | None
    """Step of the last evaluation; None before the first one."""
    final: Mapping[str, Value]
    """What the last evaluation found (`eval/…`), and the last value of every other metric."""
    measured: Mapping[str, Mapping[Key, float]] = field(repr=False)
    """Per metric the mean of each held-out prompt, at the last evaluation."""
    samples: Mapping[Key, list[RecordedSample]] = field(repr=False)
    """Completions by prompt, at the last evaluation."""
    cost: Mapping[str, float]
    """Seconds, tokens a second, MiB."""
    origin: Mapping[str, str]
    """Code, machine and packages."""
    sources: Mapping[str, str]
    """Digests of the user's own code that the run was made with, by file."""
    notes: list[str] = field(default_factory=list)
    """What could not be read, and what that means for the comparison."""

    @property
    def steps(self) -> int | None:
        """Optimizer steps that were asked for."""
        return dict(leaves(self.config)).get("train.max_steps")

    @property
    def algo(self) -> str | None:
        """The algorithm's name."""
        return dict(leaves(self.config)).get("algo")

    @property
    def reached(self) -> int:
        """The last step that anything was logged at."""
        return max((points[-1][0] for points in self.curves.values() if points), default=0)


def letter(index: int) -> str:
    """Return the letter by which a comparison calls a run.

    >>> [letter(index) for index in (0, 1, 25, 26, 27, 52)]
    ['A', 'B', 'Z', 'AA', 'AB', 'BA']
    """
    before, last = divmod(index, 26)
    return (letter(before - 1) if before else "") + chr(ord("A") + last)
