"""Rewards with known values, which worker processes can import, and mixes of them."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, ClassVar, Literal

from rlexp.rewards.mix import Mix
from rlexp.spec.reward import Place, RewardSpec

HERE = "scored_rewards"


class Column(RewardSpec):
    """The values of a column of the data."""

    column: str

    def __call__(self, prompts, completions, **columns):
        return list(columns[self.column])


class Inverse(RewardSpec):
    """1 / length; nothing can be said of "?"."""

    def __call__(self, prompts, completions, **columns):
        return [None if text == "?" else 1 / len(text) for text in completions]


class Process(RewardSpec):
    """The number of the process that scored it, after some arithmetic; 0 where torch is loaded."""

    rounds: int

    def __call__(self, prompts, completions, **columns):
        sum(number * number for number in range(self.rounds * len(completions)))
        alone = "scored_rewards" in sys.modules and "torch" not in sys.modules
        return [float(os.getpid()) if alone else 0.0 for _ in completions]


class Hangs(RewardSpec):
    """1, and no end for the completion "hang"."""

    def __call__(self, prompts, completions, **columns):
        if "hang" in completions:
            threading.Event().wait()
        return [1.0] * len(completions)


class Waits(RewardSpec):
    """1 where the other of two such terms waits at the same time, which takes it away again."""

    place: ClassVar[Place] = "threads"
    meeting: Any
    how: Literal["first", "second"]

    def __call__(self, prompts, completions, **columns):
        self.meeting.wait(timeout=20)
        return [1.0] * len(completions)


def of(kind: str, weight: Any = 1.0, **fields: Any) -> dict[str, Any]:
    """A term of a mix."""
    return {"_target_": f"{HERE}.{kind}", "name": kind.lower(), "weight": weight, **fields}


def mix_of(normalize: Any = "none", clip: Any = None, **terms: dict[str, Any]) -> Mix:
    return Mix(name="mix", normalize=normalize, clip=clip, terms=terms)


def columns_of(weight: Any = 1.0, **more: Any) -> dict[str, Any]:
    """The term whose values are the column `x`, or another one that is named."""
    return of("Column", weight, **{"column": "x", **more})
