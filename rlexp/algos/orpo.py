"""Odds-ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691), with TRL's ORPOTrainer.

Likelihood of the chosen answer and, weighted by beta, the log-sigmoid of the log odds ratio of
chosen and rejected, with odds = p / (1 - p) of the mean token probability p. There is no reference:
one model in memory, and the likelihood term is what keeps the policy writing well.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from rlexp.algos.common.trl import OWNED, Training, trl_arguments, trl_trainer
from rlexp.spec.algo import PairAlgo, RowFormat, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS


class Orpo(PairAlgo):
    """Supervised fine-tuning on chosen answers that pushes away from rejected ones as well."""

    row_format: ClassVar[RowFormat] = "joined_pairs"
    trl_config: ClassVar[tuple[str, str]] = ("experimental/orpo/orpo_config.py", "ORPOConfig")
    owned: ClassVar[dict[str, str]] = OWNED

    beta: Annotated[float, TrlField()] = Field(gt=0)
    """Weight of the odds ratio beside the likelihood (lambda in the paper). It is no KL
    coefficient: the larger, the further the policy moves."""
    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and answer; longer answers are cut at the end."""

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's ORPOTrainer on rows of prompt, chosen and rejected."""
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        arguments = ORPOConfig(**trl_arguments(self, training))
        return trl_trainer(ORPOTrainer, arguments, training, KIND_COLUMNS["pairs"])
