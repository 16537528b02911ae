"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290), and TRL's other losses.

The implicit reward of an answer is beta * log(policy / reference); the sigmoid loss is the negative
log-likelihood of the preferences under Bradley-Terry with that reward.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.trl import OWNED, Training, trl_arguments, trl_trainer
from rlexp.spec.algo import PairAlgo, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS
from rlexp.spec.errors import Problem

Loss = Literal[
    "sigmoid",  # Rafailov et al. 2023, arXiv:2305.18290
    "hinge",  # SLiC, Zhao et al. 2023, arXiv:2305.10425
    "ipo",  # Azar et al. 2023, arXiv:2310.12036
    "exo_pair",  # Ji et al. 2024, arXiv:2402.00856
    "nca_pair",  # Chen et al. 2024, arXiv:2402.05369
    "robust",  # Chowdhury et al. 2024, arXiv:2403.00409
    "bco_pair",  # Jung et al. 2024, arXiv:2404.04656
    "sppo_hard",  # Wu et al. 2024, arXiv:2405.00675
    "aot",  # Melnyk et al. 2024, arXiv:2406.05882
    "aot_unpaired",  # the same
    "apo_zero",  # D'Oosterlinck et al. 2024, arXiv:2408.06266
    "apo_down",  # the same
    "discopop",  # Lu et al. 2024, arXiv:2406.08414
    "sft",  # negative log-likelihood of the chosen answer
    "sigmoid_norm",  # sigmoid on the length-normalised rewards
]


class Dpo(PairAlgo):
    """A policy trained on pairs of a chosen and a rejected answer, without a reward model."""

    adapts_head: ClassVar[bool] = False
    trl_config: ClassVar[tuple[str, str]] = ("trainer/dpo_config.py", "DPOConfig")
    owned: ClassVar[dict[str, str]] = OWNED

    beta: Annotated[float, TrlField()] = Field(gt=0)
    """KL coefficient: the larger, the nearer the policy stays to the reference. (For `ipo` it is
    the regularisation tau.)"""
    loss_type: Annotated[list[Loss], TrlField()] = Field(min_length=1)
    """Losses to sum, each by TRL's name."""
    loss_weights: Annotated[list[float] | None, TrlField()]
    """One weight a loss; null weighs each 1 (MPO, arXiv:2411.10442, weighs several)."""
    label_smoothing: Annotated[float, TrlField()] = Field(ge=0, lt=0.5)
    """Probability that a label is wrong (conservative DPO; `robust` and `exo_pair` want it above
    0)."""
    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and answer; longer ones are cut at the end."""

    def problems(self) -> list[Problem]:
        """Losses and their weights must match; two losses want label smoothing."""
        problems = []
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss_type):
            want = f"{len(self.loss_type)} weights, one for each of algo.loss_type"
            problems.append(Problem("algo.loss_weights", str(self.loss_weights), want))
        if "exo_pair" in self.loss_type and self.label_smoothing == 0:
            want = "above 0 for exo_pair, such as 0.001"
            problems.append(Problem("algo.label_smoothing", "0", want))
        return problems

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's DPOTrainer on rows of prompt, chosen and rejected."""
        from trl import DPOConfig, DPOTrainer

        arguments = DPOConfig(**trl_arguments(self, training))
        return trl_trainer(DPOTrainer, arguments, training, KIND_COLUMNS["pairs"])
