"""What the rest of the house knows of an algorithm before its code is loaded."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec, TrainSpec
from rlexp.spec.part import Component, Part


class PairSampling(Part):
    """How preference pairs are made when the data has none: sampled, then ranked by the reward."""

    prompts: int = Field(gt=0)
    """Prompts to sample for: one pair each. More than the training needs is cut."""
    completions: int = Field(ge=2)
    """Completions a prompt; the best and the worst by the reward become the pair."""
    temperature: float = Field(gt=0)
    """Softmax temperature of the samples."""


class AlgoSpec(Component):
    """An algorithm: its knobs, and what it needs from data and reward.

    A subclass adds its knobs and `build_trainer`, which imports TRL lazily.
    """

    needs: ClassVar[Kind]
    """The kind of rows that it trains on."""
    needs_reward: ClassVar[bool] = False
    """Whether a reward is called while it trains."""
    trl_config: ClassVar[tuple[str, str]]
    """Where TRL keeps its config: file inside the package, class."""
    owned: ClassVar[dict[str, str]] = {}
    """TRL fields that rlexp sets itself, each with the key that the user has for it."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    trl: dict[str, Any]
    """Anything else, passed to TRL's config verbatim; names are checked."""

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """What is wrong with the batch or the devices for this algorithm."""
        return []
