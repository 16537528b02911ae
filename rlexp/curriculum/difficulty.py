"""Rows by how well the policy answers them before the training."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, ClassVar

from pydantic import Field

from rlexp.spec.curriculum import CurriculumSpec, Pace, RowMeasures
from rlexp.spec.errors import Problem, UserError


class DifficultyCurriculum(CurriculumSpec):
    """Prompts by the pass rate, or mean reward, of the policy's own answers: the highest first.

    Of a prompt that is always answered right, or never, a group of answers teaches nothing (their
    advantages are 0), which is what `window` is for.
    """

    samples: ClassVar[bool] = True

    prompts: int | None = Field(gt=0)
    """Rows that are rated, drawn by the seed; training draws from them alone. null rates all."""
    completions: int = Field(gt=0)
    """Answers a prompt."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the samples."""
    passes_from: float | None
    """Reward from which an answer passes; null takes the answers' mean reward instead of the share
    of those that pass."""
    window: list[float] | None = Field(min_length=2, max_length=2)
    """[lowest, highest] rate of the prompts that are trained on, both included; null keeps all."""
    descending: bool
    """Hard prompts first."""
    pace: Pace
    """How fast the harder ones come in."""

    def problems(self) -> list[Problem]:
        problems = self.pace.problems()
        if self.window is not None and self.window[0] > self.window[1]:
            want = "[lowest, highest]"
            remedy = f"Set curriculum.window=[{self.window[1]},{self.window[0]}]."
            problems.append(Problem("curriculum.window", str(self.window), want, remedy))
        return problems

    @property
    def most_rows(self) -> int | None:
        return self.prompts

    def difficulty(
        self, rows: Sequence[dict[str, Any]], measures: RowMeasures
    ) -> list[float | None]:
        """Return each prompt's rate, turned so that easy ones are low; None outside the window.

        Raises:
            UserError: no prompt is in the window.
        """
        rewards = measures.sampled_rewards(rows, self.completions, self.temperature)
        rates = [self._rate(values) for values in rewards]
        sign = 1.0 if self.descending else -1.0
        kept = [None if rate is None or not self._inside(rate) else sign * rate for rate in rates]
        if any(value is not None for value in kept):
            return kept
        known = [rate for rate in rates if rate is not None]
        got = f"{self.window}, and no prompt inside"
        if known:
            got += f": rates go from {min(known):.3g} to {max(known):.3g}"
        want = "a window in which the policy's rates lie"
        raise UserError(Problem("curriculum.window", got, want, "Set curriculum.window=null."))

    def _rate(self, rewards: Sequence[float]) -> float | None:
        if not rewards:
            return None
        if self.passes_from is None:
            return fmean(rewards)
        return fmean(float(reward >= self.passes_from) for reward in rewards)

    def _inside(self, rate: float) -> bool:
        return self.window is None or self.window[0] <= rate <= self.window[1]
