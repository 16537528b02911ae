"""An exponential moving average of the policy's weights, as a model that can be asked.

After each optimizer step average = decay * average + (1 - decay) * weights, beginning with the
weights before training (Tarvainen & Valpola 2017, arXiv:1703.01780). Of an adapter it is its two
factors that are averaged.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from rlexp.spec.errors import Problem, UserError

FILE = "average.safetensors"
"""File of a checkpoint, in float32: a training goes on with the same average."""


class MovingAverage(TrainerCallback):
    """Keeps the average of what is trained of a model.

    Attributes:
        model: a copy of the model that has the average. What is not trained, the two share.
    """

    def __init__(self, trained: Any, decay: float) -> None:
        self.decay = decay
        self._weights = {
            name: weight for name, weight in trained.named_parameters() if weight.requires_grad
        }
        shared = {id(weight): weight for weight in trained.parameters() if not weight.requires_grad}
        self.model = copy.deepcopy(trained, shared).requires_grad_(False)
        own = dict(self.model.named_parameters())
        self._copies = {name: own[name] for name in self._weights}
        # In bfloat16 a small change would round to nothing.
        self._average = {name: weight.detach().float() for name, weight in self._copies.items()}

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Take the weights of one more step in."""
        with torch.no_grad():
            for name, average in self._average.items():
                average.lerp_(self._weights[name].detach().float(), 1 - self.decay)
                self._copies[name].copy_(average)

    def on_save(self, args, state, control, **kwargs) -> None:
        """Write the average into the checkpoint."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            save_file({name: one.cpu() for name, one in self._average.items()}, folder / FILE)

    def load(self, checkpoint: Path) -> None:
        """Take up the average that a checkpoint has.

        Raises:
            UserError: it was written without one.
        """
        if not (checkpoint / FILE).is_file():
            got = f"ema, with {checkpoint}, which has no average of the policy"
            remedy = "Begin anew, or go on with the teacher of before."
            raise UserError(Problem("algo.teacher", got, "the teacher of the checkpoint", remedy))
        for name, saved in load_file(checkpoint / FILE).items():
            self._average[name].copy_(saved)
            self._copies[name].data.copy_(self._average[name])
