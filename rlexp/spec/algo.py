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

    A subclass adds its knobs, and a `build_trainer` that imports TRL lazily.
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

    def build_trainer(self, training: Any) -> Any:
        """A trainer with transformers' `train()`, from a `rlexp.algos.base.Training`."""
        raise TypeError(f"{type(self).__name__} must build its trainer")

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """What is wrong with the batch or the devices for this algorithm."""
        return []


class PairAlgo(AlgoSpec):
    """An algorithm that learns from pairs, which can be sampled where the data has none."""

    needs: ClassVar[Kind] = "pairs"

    pairs: PairSampling
    """How pairs are made where the data has none."""
