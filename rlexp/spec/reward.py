"""What the rest of the house knows of a reward before it scores anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rlexp.spec.part import Component
from rlexp.spec.text import Message, Text

__all__ = ["Message", "RewardSpec", "Scores", "Text"]


@dataclass(frozen=True)
class Scores:
    """Rewards of a batch of n completions: the total, and each named term of a mix before its
    weight."""

    total: list[float]
    terms: dict[str, list[float]]


class RewardSpec(Component):
    """A reward: its knobs, and a picklable callable with TRL's signature."""

    scores_anything: ClassVar[bool] = True
    """False for `reward=none` alone."""

    def columns(self) -> set[str]:
        """Data columns that it reads beside prompt and completion."""
        return set()

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        """Score n completions; `columns` are the data set's, one value a completion."""
        raise TypeError(f"{type(self).__name__} must score completions")

    def score(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> Scores:
        """Total and terms. A single reward has none: its term would be the total."""
        return Scores(total=self(prompts, completions, **columns), terms={})
