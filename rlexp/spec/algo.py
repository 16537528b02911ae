"""What the rest of the house knows of an algorithm before its code is loaded."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from rlexp.spec.data import Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec, TrainSpec
from rlexp.spec.part import Component, Part

Head = Literal["language", "reward"]
"""The next token's logits, or one number for a whole text."""


class Sampling(Part):
    """How rows are made where the data has none of the kind: sampled, then judged by the reward."""

    prompts: int = Field(gt=0)
    """Prompts to sample for. More than the training needs is cut."""
    completions: int = Field(ge=2)
    """Completions a prompt. The best and the worst by the reward become a pair; where labels are
    wanted, those above their mean are good and those below it bad."""
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
    head: ClassVar[Head] = "language"
    """What the model's last layer gives."""
    owned: ClassVar[dict[str, str]] = {}
    """TRL fields that rlexp sets itself, each with the key that the user has for it."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    trl: dict[str, Any]
    """Anything else, passed to TRL's config verbatim; names are checked."""

    @property
    def sampling(self) -> Sampling | None:
        """How its rows can be sampled where the data has none of their kind; None: they cannot."""
        return None

    @property
    def ignores_answers(self) -> bool:
        """Whether rows are sampled even where the data has them."""
        return False

    def build_trainer(self, training: Any) -> Any:
        """A trainer with transformers' `train()`, from a `rlexp.algos.base.Training`."""
        raise TypeError(f"{type(self).__name__} must build its trainer")

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """What is wrong with the batch or the devices for this algorithm."""
        return []


class PairAlgo(AlgoSpec):
    """An algorithm that learns from pairs, which can be sampled where the data has none."""

    needs: ClassVar[Kind] = "pairs"

    pairs: Sampling
    """How pairs are made where the data has none."""

    @property
    def sampling(self) -> Sampling:
        return self.pairs
