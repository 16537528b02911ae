"""Supervised fine-tuning: maximise the likelihood of demonstrations (TRL's SFTTrainer)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from rlexp.algos.common.trl import OWNED, Training, common_arguments, trl_trainer
from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import KIND_COLUMNS, Kind


class Sft(AlgoSpec):
    """Cross-entropy on the completions of demonstrations."""

    needs: ClassVar[Kind] = "demonstrations"
    trl_config: ClassVar[tuple[str, str]] = ("trainer/sft_config.py", "SFTConfig")
    owned: ClassVar[dict[str, str]] = {
        **OWNED,
        "packing": "algo.packing",
        "completion_only_loss": "algo.completion_only_loss",
    }

    max_length: int = Field(gt=0)
    """Tokens of prompt and completion; longer ones are cut at the end."""
    packing: bool
    """Fill each sequence with several examples: no padding, but wants flash attention to keep
    them apart."""
    completion_only_loss: bool
    """Learn the completion only; false learns the prompt as well."""

    def build_trainer(self, training: Training) -> Any:
        """TRL's SFTTrainer on rows of prompt and completion."""
        from trl import SFTConfig, SFTTrainer

        arguments = SFTConfig(
            max_length=self.max_length,
            packing=self.packing,
            completion_only_loss=self.completion_only_loss,
            **common_arguments(self, training),
        )
        return trl_trainer(SFTTrainer, arguments, training, KIND_COLUMNS["demonstrations"])
