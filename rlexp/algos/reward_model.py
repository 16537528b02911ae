"""A reward model from pairs (Bradley & Terry 1952; Ouyang et al. 2022, arXiv:2203.02155), by TRL.

A head on the language model gives a whole text one number r, trained so that
p(chosen is better) = sigmoid(r(chosen) - r(rejected)). What comes of it is used by `reward=model`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.trl import OWNED, Training, trl_arguments, trl_trainer
from rlexp.spec.algo import PairAlgo, RowFormat, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS
from rlexp.spec.model_kind import Head


class RewardModel(PairAlgo):
    """A model that scores texts; its card tells how often it puts held-out pairs in order."""

    row_format: ClassVar[RowFormat] = "scored_pairs"
    trl_config: ClassVar[tuple[str, str]] = ("trainer/reward_config.py", "RewardConfig")
    head: ClassVar[Head] = "reward"
    owned: ClassVar[dict[str, str]] = {
        **OWNED,
        "chat_template_path": "model.chat_template",
        "eos_token": "model.eos_token",
        "pad_token": "model.pad_token",
    }

    center: Annotated[
        float, TrlField("center_rewards_coefficient", convert=lambda weight: weight or None)
    ] = Field(ge=0)
    """Weight of (r(chosen) + r(rejected))^2, which keeps scores around 0 (Eisenstein et al. 2023,
    arXiv:2312.09244, take 0.01). Bradley-Terry itself leaves their level open."""
    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and answer; pairs with a longer text are left out."""
    labels: Literal["data", "reward"]
    """Who says what is better where the data has labels and no pairs. `reward`: answers are sampled
    from the model, and the reward ranks them. `data`: each pair is a text labelled true and one
    labelled false, drawn at random, so that the model learns to tell the labels."""

    @property
    def matches_labels(self) -> bool:
        return self.labels == "data"

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's RewardTrainer on rows of prompt, chosen and rejected."""
        from trl import RewardConfig, RewardTrainer

        arguments = RewardConfig(**trl_arguments(self, training))
        # Matched texts have no prompt, and a column of empty conversations no type that TRL reads.
        columns = KIND_COLUMNS["pairs"] if training.rows[0]["prompt"] else ("chosen", "rejected")
        return trl_trainer(RewardTrainer, arguments, training, columns)
