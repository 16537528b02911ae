"""How much of the sorted rows is open: by steps that are done, or by a reward that is reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from rlexp.spec.curriculum import Pace, Pacer


def pacer_of(pace: Pace, max_steps: int) -> Pacer:
    """Return what opens the rows of a training of so many optimizer steps."""
    if pace.by == "step":
        steps = pace.steps or math.ceil(max_steps / 2)
        return Competence(pace.start, steps, power={"linear": 1, "root": 2}[pace.schedule])
    assert pace.threshold is not None  # a spec with none is refused
    return RewardPacer(pace.start, pace.parts, pace.threshold, pace.window, pace.patience)


@dataclass(frozen=True)
class Competence:
    """The competence of Platanios et al. 2019 (arXiv:1903.09848), equation 7.

    c(t) = min(1, (t (1 - c0^p) / T + c0^p)^(1/p)); p = 1 is linear, p = 2 the square root.

    >>> [round(Competence(0.1, 10, power=2).share(step), 3) for step in (0, 5, 10, 99)]
    [0.1, 0.711, 1.0, 1.0]
    """

    start: float
    """c0, the share at first."""
    steps: int
    """T, optimizer steps until all is open."""
    power: int

    def share(self, step: int) -> float:
        if step >= self.steps:
            return 1.0
        begin = self.start**self.power
        return (step * (1 - begin) / self.steps + begin) ** (1 / self.power)

    def observe(self, step: int, reward: float, steps_a_batch: int) -> None:
        """Learn nothing: the steps decide."""

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take nothing: the steps decide."""


@dataclass
class RewardPacer:
    """Opens the next part when the rollouts' mean reward over a window has reached a threshold.

    What is decided by the rewards of one batch takes effect at the second batch after it: while it
    is learnt from, a trainer has already drawn the next one.
    """

    start: float
    parts: int
    threshold: float
    window: int
    patience: int | None
    openings: list[int] = field(default_factory=list)
    """Optimizer steps done when each further part is drawn from for the first time."""
    recent: list[float] = field(default_factory=list)
    """Mean rewards of the steps since the last opening, at most `window` of them."""
    waited: int = 0
    """Steps since the last opening."""

    def share(self, step: int) -> float:
        opened = sum(opening <= step for opening in self.openings)
        return self.start + (1 - self.start) * opened / self.parts

    def observe(self, step: int, reward: float, steps_a_batch: int) -> None:
        """Take in the mean reward of the rollouts that the step-th optimizer step learnt from.

        Args:
            step: optimizer steps done.
            reward: mean over all processes.
            steps_a_batch: optimizer steps on one batch of rollouts.
        """
        batch = (step - 1) // steps_a_batch
        still_before = bool(self.openings) and batch * steps_a_batch < self.openings[-1]
        if still_before or len(self.openings) == self.parts:
            return
        self.waited += 1
        self.recent = [*self.recent, reward][-self.window :]
        reached = len(self.recent) == self.window and fmean(self.recent) >= self.threshold
        if reached or (self.patience is not None and self.waited >= self.patience):
            self.openings.append((batch + 2) * steps_a_batch)
            self.recent, self.waited = [], 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; Python writes a float so that it reads the same one."""
        return {"openings": self.openings, "recent": self.recent, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.openings, self.recent = list(state["openings"]), list(state["recent"])
        self.waited = state["waited"]
