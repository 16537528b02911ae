"""What the rest of the house knows of a judge: a reward that can say which of two is better."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from rlexp.spec.components import component_of
from rlexp.spec.errors import Problem
from rlexp.spec.reward import Place, RewardSpec, Text


@dataclass(frozen=True)
class Preference:
    """What a judge said of two completions, asked once in each order.

    Attributes:
        shown_first: 1 if the first one won where it stood first, 0.5 for a tie, 0 if it lost.
        shown_second: the same where it stood second.
    """

    shown_first: float
    shown_second: float

    @property
    def value(self) -> float:
        """How far the first is preferred, in [0, 1]; 0.5 where place alone decided."""
        return (self.shown_first + self.shown_second) / 2


class JudgeSpec(RewardSpec):
    """A reward that asks somebody for an opinion, and can also ask about two completions."""

    place: ClassVar[Place] = "threads"

    @property
    def who(self) -> str:
        """What people know the judge by."""
        return self.name

    @property
    def needs_rivals(self) -> bool:
        """Whether a completion is scored against others to the same prompt."""
        return False

    @abstractmethod
    def pair_columns(self) -> set[str]:
        """Data columns that `prefer` reads."""

    @abstractmethod
    def prefer(
        self,
        prompts: list[Text],
        firsts: list[Text],
        seconds: list[Text],
        columns: dict[str, list[Any]],
    ) -> list[Preference | None]:
        """Which of two completions is better, for each of n prompts; None where nobody can tell."""


def needs_rivals(reward: RewardSpec) -> bool:
    """Whether the reward, or a term of it, compares the completions to a prompt with each other."""
    judges = [term.reward for term in reward.terms_by_name().values()]
    return any(isinstance(judge, JudgeSpec) and judge.needs_rivals for judge in judges)


def judge_of(config: dict[str, Any] | None) -> tuple[JudgeSpec | None, list[Problem]]:
    """Return the judge of `eval.judge`, None where there is none, and what is wrong with it."""
    if config is None:
        return None, []
    problems: list[Problem] = []
    return component_of(config, JudgeSpec, "eval.judge", [], problems), problems
