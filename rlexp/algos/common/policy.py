"""What algorithms see of the policy that they train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rlexp.spec.algo import VllmSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.text import Text
from rlexp.spec.thinking import ThinkingReader

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import TrainerCallback


class PolicyToTrain(Protocol):
    """A `rlexp.models.policy.Policy`, which explains each of these."""

    model: Any
    tokenizer: Any
    folder: Path
    spec: ModelSpec
    adapter: PeftConfig | None
    learning_rate_factor: float
    router_losses: bool
    sampler: Callable[..., Any] | None
    continues: Path | None

    @property
    def initial_folder(self) -> Path: ...
    @property
    def thinking(self) -> ThinkingReader | None: ...
    @property
    def eos_token_ids(self) -> list[int]: ...
    def encode(self, prompts: Sequence[Text]) -> list[list[int]]: ...
    @property
    def roll_out(self) -> Callable[..., Any]: ...
    def reference(self) -> AbstractContextManager[Callable[..., Any]]: ...
    def treat_padding(self, model: Any) -> None: ...
    def in_place_of_generate(self) -> TrainerCallback: ...
    def sample_by_vllm(
        self, accelerator: Any, where: VllmSpec, sampling: dict[str, Any], **size: int
    ) -> TrainerCallback: ...
