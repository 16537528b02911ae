"""Supervised fine-tuning: maximise the likelihood of demonstrations (TRL's SFTTrainer)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from rlexp.algos.common.trl import OWNED, Training, trl_arguments, trl_trainer
from rlexp.spec.algo import AlgoSpec, RowFormat, TrainerLike, TrlField
from rlexp.spec.data import KIND_COLUMNS, Kind


class Sft(AlgoSpec):
    """Cross-entropy on the completions of demonstrations."""

    needs: ClassVar[Kind] = "demonstrations"
    row_format: ClassVar[RowFormat] = "demonstrations"
    trl_config: ClassVar[tuple[str, str]] = ("trainer/sft_config.py", "SFTConfig")
    owned: ClassVar[dict[str, str]] = OWNED

    max_length: Annotated[int, TrlField()] = Field(gt=0)
    """Tokens of prompt and completion; longer ones are cut at the end."""
    packing: Annotated[bool, TrlField()]
    """Fill each sequence with several examples: no padding, but wants flash attention to keep
    them apart."""
    completion_only_loss: Annotated[bool, TrlField()]
    """Learn the completion only; false learns the prompt as well."""

    def build_trainer(self, training: Training) -> TrainerLike:
        """TRL's SFTTrainer on rows of prompt and completion."""
        from trl import SFTConfig, SFTTrainer

        arguments = SFTConfig(**trl_arguments(self, training))
        return trl_trainer(SFTTrainer, arguments, training, KIND_COLUMNS["demonstrations"])
