"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290), and TRL's other losses.

The implicit reward of an answer is beta * log(policy / reference); the sigmoid loss is the negative
log-likelihood of the preferences under Bradley-Terry with that reward.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.reference import REFERENCE_OF_TRL, with_reference_sync
from rlexp.algos.common.trl import OWNED, Training, trl_arguments
from rlexp.spec.algo import PairAlgo, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS
from rlexp.spec.errors import Problem
from rlexp.trainers.config import ReferenceConfig

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

SMOOTHED = {"exo_pair", "robust", "aot", "aot_unpaired"}
"""Losses that read the label smoothing."""
ANY_DIVERGENCE = {
    *("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
}
"""Losses for which TRL has other f-divergences than the reverse KL."""


class Dpo(ReferenceConfig, PairAlgo):
    """A policy trained on pairs of a chosen and a rejected answer, without a reward model."""

    adapts_head: ClassVar[bool] = False
    trl_config: ClassVar[tuple[str, str]] = ("trainer/dpo_config.py", "DPOConfig")
    owned: ClassVar[dict[str, str]] = OWNED | REFERENCE_OF_TRL

    beta: Annotated[float, TrlField()] = Field(gt=0)
    """KL coefficient: the larger, the nearer the policy stays to the reference. (For `ipo` it is
    the regularisation tau.)"""
    loss_type: Annotated[list[Loss], TrlField()] = Field(min_length=1)
    """Losses to sum, each by TRL's name."""
    loss_weights: Annotated[list[float] | None, TrlField()]
    """One weight a loss; null weighs each 1 (MPO, arXiv:2411.10442, weighs several)."""
    label_smoothing: Annotated[float, TrlField()] = Field(ge=0, lt=0.5)
    """Probability that a label is wrong: above 0 for `robust` and `exo_pair`, as you like for `aot`
    and `aot_unpaired`; the other losses do not read it."""
    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and answer; longer ones are cut at the end."""

    def problems(self) -> list[Problem]:
        """Losses and their weights must match, and read what is set beside them."""
        losses, smoothing, problems = self.loss_type, self.label_smoothing, []
        if self.loss_weights is not None and len(self.loss_weights) != len(losses):
            want = f"{len(losses)} weights, one for each of algo.loss_type"
            problems.append(Problem("algo.loss_weights", str(self.loss_weights), want))
        key = "algo.label_smoothing"
        for loss in ("exo_pair", "robust"):
            if loss in losses and smoothing == 0:
                problems.append(Problem(key, "0", f"above 0 for {loss}", f"Set {key}=0.001."))
        if smoothing > 0 and SMOOTHED.isdisjoint(losses):
            want = f"0 with loss_type={losses[0]}, which does not read it"
            remedy = f"Set {key}=0, or algo.loss_type=[robust]."
            problems.append(Problem(key, f"{smoothing:g}", want, remedy))
        return [*problems, *self._divergence_problems()]

    def _divergence_problems(self) -> list[Problem]:
        problems, divergence = [], self.trl.get("f_divergence_type", "reverse_kl")
        others = [loss for loss in self.loss_type if loss not in ANY_DIVERGENCE]
        if divergence != "reverse_kl" and others:
            want = f"reverse_kl with loss_type={others[0]}, which is defined for no other"
            remedy = "Leave it out, or set algo.loss_type=[sigmoid]."
            problems.append(Problem("algo.trl.f_divergence_type", str(divergence), want, remedy))
        if "discopop_tau" in self.trl and "discopop" not in self.loss_type:
            got, want = str(self.trl["discopop_tau"]), "nothing without the loss discopop"
            remedy = "Leave it out, or set algo.loss_type=[discopop]."
            problems.append(Problem("algo.trl.discopop_tau", got, want, remedy))
        return problems

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's DPOTrainer on rows of prompt, chosen and rejected."""
        from trl import DPOConfig, DPOTrainer

        arguments = DPOConfig(**trl_arguments(self, training))
        return with_reference_sync(self, DPOTrainer, arguments, training, KIND_COLUMNS["pairs"])
