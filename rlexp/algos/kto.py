"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306), with TRL's KTOTrainer.

Each answer is good or bad by itself; no pairs are needed. With the implicit reward
z = beta * (log policy / reference - KL), good answers cost 1 - sigmoid(z) and bad ones
1 - sigmoid(-z): gains and losses saturate as they do for people. The KL is estimated on mismatched
answers of the batch and cut off at 0, where it mostly stays.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlexp.algos.common.reference import REFERENCE_OF_TRL, with_reference_sync
from rlexp.algos.common.trl import OWNED, Training, trl_arguments
from rlexp.spec.algo import AlgoSpec, PreferenceSampling, RowFormat, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS, Kind
from rlexp.spec.errors import Problem
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.train import TrainSpec
from rlexp.trainers.config import ReferenceConfig


class Kto(ReferenceConfig, AlgoSpec):
    """A policy trained on answers labelled good or bad."""

    needs: ClassVar[Kind] = "unpaired"
    row_format: ClassVar[RowFormat] = "labelled"
    adapts_head: ClassVar[bool] = False
    trl_config: ClassVar[tuple[str, str]] = ("trainer/kto_config.py", "KTOConfig")
    owned: ClassVar[dict[str, str]] = OWNED | REFERENCE_OF_TRL

    beta: Annotated[float, TrlField()] = Field(gt=0)
    """KL coefficient: the larger, the nearer the policy stays to the reference."""
    loss_type: Annotated[Literal["kto", "apo_zero_unpaired"], TrlField()]
    """`kto` measures from the KL; `apo_zero_unpaired` from zero (arXiv:2408.06266), for good
    answers that are better than what the model writes."""
    desirable_weight: Annotated[float, TrlField()] = Field(gt=0)
    """Weight of the good answers' loss. Where there are more bad ones, raise it until weight times
    number is 1 to 4/3 times that of the bad ones (section 4.2 of the paper)."""
    undesirable_weight: Annotated[float, TrlField()] = Field(gt=0)
    """Weight of the bad answers' loss."""
    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and answer; longer ones are cut at the end."""
    labels: Literal["auto", "reward"]
    """Where labels come from. `auto`: the data's own labels or pairs, and where it has none, as
    `reward`: answers are sampled from the model, and labelled by whether the reward puts them above
    the mean of the answers to the same prompt."""
    samples: PreferenceSampling
    """How answers are sampled where the reward gives the labels."""

    @property
    def sampling(self) -> PreferenceSampling:
        return self.samples

    @property
    def ignores_answers(self) -> bool:
        return self.labels == "reward"

    def fits(self, train: TrainSpec, hardware: HardwareSpec) -> list[Problem]:
        """The KL is estimated on pairs of neighbours, which one sequence at a time has not."""
        micro = train.micro_batch_size or train.batch_size // hardware.processes
        if micro > 1 or self.loss_type != "kto":
            return []
        key = "train.batch_size" if train.micro_batch_size is None else "train.micro_batch_size"
        return [Problem(key, "1 sequence at a time", "2 or more: KTO compares them for its KL")]

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's KTOTrainer on rows of prompt, completion and label.

        TRL goes through the rows in their order and takes the answer to the neighbouring prompt
        for its KL, so they are shuffled here: two answers to one prompt are no neighbours then.
        A curriculum's rows stand here as it draws them.
        """
        from trl import KTOConfig, KTOTrainer

        arguments = KTOConfig(**trl_arguments(self, training))
        if training.curriculum is not None:
            training = training.in_order()
        else:
            rows = random.Random(training.spec.seed).sample(training.rows, len(training.rows))
            training = replace(training, rows=rows)
        columns = KIND_COLUMNS["unpaired"]
        return with_reference_sync(self, KTOTrainer, arguments, training, columns)
