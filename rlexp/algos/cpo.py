"""Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417) and SimPO, by TRL.

DPO's loss with a uniform reference, which drops out: no second model is held, and a likelihood term
on the chosen answer stands in for it. SimPO (Meng et al. 2024, arXiv:2405.14734) compares mean
instead of summed log-probabilities and asks for a margin.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.trl import OWNED, Training, trl_arguments, trl_trainer
from rlexp.spec.algo import PairAlgo, RowFormat, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS
from rlexp.spec.errors import Problem


class Cpo(PairAlgo):
    """A policy trained on pairs without a reference."""

    row_format: ClassVar[RowFormat] = "joined_pairs"
    trl_config: ClassVar[tuple[str, str]] = ("experimental/cpo/cpo_config.py", "CPOConfig")
    owned: ClassVar[dict[str, str]] = OWNED

    beta: Annotated[float, TrlField()] = Field(gt=0)
    """Scale of the log-probability difference of chosen and rejected (0.1 for `sigmoid`, 2 to 2.5
    for `simpo`). There is no reference, so it is no KL coefficient."""
    loss_type: Annotated[Literal["sigmoid", "hinge", "ipo", "simpo"], TrlField()]
    """`sigmoid` is CPO, `simpo` SimPO; `hinge` (arXiv:2305.10425) and `ipo` (arXiv:2310.12036)."""
    nll_weight: Annotated[float, TrlField("cpo_alpha")] = Field(ge=0)
    """Weight of the chosen answer's likelihood (TRL's cpo_alpha); SimPO's paper takes 0."""
    simpo_gamma: Annotated[float, TrlField()] = Field(ge=0)
    """Margin that `simpo` asks for; 0.3 to 1.6 in the paper."""
    label_smoothing: Annotated[float, TrlField()] = Field(ge=0, lt=0.5)
    """Probability that a preference label is wrong, for `sigmoid` and `simpo`."""
    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and answer; longer answers are cut at the end."""

    def problems(self) -> list[Problem]:
        """Label smoothing that the loss does not read."""
        if self.label_smoothing == 0 or self.loss_type in ("sigmoid", "simpo"):
            return []
        want = f"0 with loss_type={self.loss_type}, which does not read it"
        remedy = "Set algo.label_smoothing=0, or algo.loss_type=sigmoid."
        return [Problem("algo.label_smoothing", f"{self.label_smoothing:g}", want, remedy)]

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's CPOTrainer on rows of prompt, chosen and rejected."""
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        arguments = CPOConfig(**trl_arguments(self, training))
        return trl_trainer(CPOTrainer, arguments, training, KIND_COLUMNS["pairs"])
