"""The reference renewed from the policy every few steps, exactly so after a stop as well.

TR-DPO (Gorbatovski et al. 2024, arXiv:2404.09656): ref <- mix * policy + (1 - mix) * ref. The KL
divergence then bounds how fast the policy moves, no longer how far.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback

from rlexp.trainers.checkpoint import save_tensors
from rlexp.trainers.config import ReferenceConfig

REFERENCE = "reference.safetensors"
"""File of a checkpoint: the reference as it was then."""


class ReferenceSync:
    """Renews a reference that is a model of its own, of the policy's architecture.

    Attributes:
        reference: the module; None before there is one.
    """

    def __init__(self, config: ReferenceConfig) -> None:
        self.every, self.mix = config.sync_reference, config.sync_reference_mix
        self.reference: Any = None

    @torch.no_grad()
    def after_step(self, step: int, model: Any) -> None:
        """Move the reference towards the model, where this step is one after which it is moved."""
        if self.every is None or step % self.every:
            return
        policy = dict(model.named_parameters())
        for name, weight in self._weights().items():
            weight.lerp_(policy[name].to(weight), self.mix)

    def save(self, checkpoint: Path) -> None:
        """Write the reference beside the policy of a checkpoint."""
        if self.every is not None:
            save_tensors(self._weights(), checkpoint / REFERENCE)

    @torch.no_grad()
    def load(self, checkpoint: Path) -> None:
        """Take the reference that `save` has written.

        Raises:
            FileNotFoundError: the checkpoint has none.
        """
        if self.every is not None:
            saved = load_file(checkpoint / REFERENCE)
            for name, weight in self._weights().items():
                weight.copy_(saved[name])

    def _weights(self) -> dict[str, Tensor]:
        assert self.reference is not None, "the trainer has a reference before its first step"
        return dict(self.reference.named_parameters())


class SyncReference(TrainerCallback):
    """Renews the reference of one of TRL's trainers, and adds it to the checkpoints.

    Parameters without a type have the one that transformers' TrainerCallback gives them.
    """

    def __init__(self, sync: ReferenceSync) -> None:
        self.sync = sync

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        self.sync.after_step(state.global_step, model)

    def on_save(self, args, state, control, **kwargs) -> None:
        if state.is_world_process_zero:
            self.sync.save(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
