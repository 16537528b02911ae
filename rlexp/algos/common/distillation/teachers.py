"""TRL's DistillationTrainer with a teacher for each row, who may read more than the policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl import DistillationTrainer

from rlexp.algos.common.distillation.moving_average import MovingAverage
from rlexp.spec.text import Text

Row = dict[str, Any]
Loss = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""The sum of divergences over the batch's tokens, the policy's entropies, and tokens."""


class TeachersTrainer(DistillationTrainer):
    """Distils from several teachers, from one with a prompt of its own, or from the policy's
    average.

    Attributes:
        teachers: by name; the one without a name stands for all.
        average: of the policy, where that is the teacher.
    """

    def __init__(
        self,
        *args: Any,
        teacher_models: dict[str, Any],
        teacher_of: Callable[[Row], str],
        teacher_prompt: Callable[[Row], Text] | None,
        ema_decay: float | None,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            teacher_models: by name; none where the policy's average is the teacher.
            teacher_of: the name of a row's teacher.
            teacher_prompt: what the teacher of a row reads; None: what the policy reads.
            ema_decay: weight of the past in the policy's average, a step; None: it is no teacher.
        """
        first = next(iter(teacher_models.values()), None)
        super().__init__(*args, teacher_model=first, **kwargs)
        self.average: MovingAverage | None = None
        if ema_decay is not None:
            self.average = MovingAverage(self.model, ema_decay)
            # before what seals a checkpoint
            self.callback_handler.callbacks.insert(0, self.average)
            teacher_models = {"": self.average.model}
        prepare = self.accelerator.prepare_model
        self.teachers = {
            name: prepare(model, evaluation_mode=True) for name, model in teacher_models.items()
        }
        self.teacher_model = next(iter(self.teachers.values()))
        self.teacher_of, self.teacher_prompt = teacher_of, teacher_prompt
        self._micro_batch: dict[str, Any] = {}

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:
        """Train, on from a checkpoint with its average."""
        if self.average is not None and resume_from_checkpoint:
            self.average.load(Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _generate_and_score_completions(self, inputs: list[Row]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        device = self.accelerator.device
        if len(self.teachers) > 1:
            names = list(self.teachers)
            numbers = [names.index(self.teacher_of(row)) for row in inputs]
            output["teacher_number"] = torch.tensor(numbers, device=device)
        if self.teacher_prompt is not None:
            prompts = [self.teacher_prompt(row) for row in inputs]
            ids = [torch.tensor(one) for one in self._tokenize_prompts(prompts)[0]]
            masks = [torch.ones_like(one) for one in ids]
            for name, values in {"teacher_prompt_ids": ids, "teacher_prompt_mask": masks}.items():
                output[name] = pad_sequence(values, True, 0, padding_side="left").to(device)
        return output

    def _compute_loss(self, student: Any, inputs: dict[str, Any], num_items: Any) -> Loss:
        if len(self.teachers) == 1:
            return self._loss_of(student, inputs, num_items)
        losses = []
        for number, (name, teacher) in enumerate(self.teachers.items()):
            rows = (inputs["teacher_number"] == number).nonzero()[:, 0]
            if not len(rows):
                continue
            part = {key: _rows_of(value, rows) for key, value in inputs.items()}
            self.teacher_model = teacher
            loss, entropies, tokens = self._loss_of(student, part, num_items)
            # TRL has divided it by the tokens of all rows
            mean = (loss.detach() * num_items / tokens.clamp(min=1)).item()
            self._metrics["train"][f"rollout/divergence_{name}"].append(mean)
            losses.append((loss, entropies, tokens))
        loss, entropies, tokens = (sum(parts) for parts in zip(*losses, strict=True))
        return loss, entropies, tokens  # pyright: ignore[reportReturnType]

    def _loss_of(self, student: Any, inputs: dict[str, Any], num_items: Any) -> Loss:
        self._micro_batch = inputs
        return super()._compute_loss(student, inputs, num_items)

    def _get_last_hidden_state(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **more: Any
    ) -> Any:
        if self.teacher_prompt is not None and model is self.accelerator.unwrap_model(
            self.teacher_model
        ):
            batch = self._micro_batch
            input_ids = torch.cat([batch["teacher_prompt_ids"], batch["completion_ids"]], 1)
            attention_mask = torch.cat([batch["teacher_prompt_mask"], batch["completion_mask"]], 1)
        return super()._get_last_hidden_state(
            model, input_ids, attention_mask, logits_to_keep, **more
        )


def _rows_of(value: Any, rows: torch.Tensor) -> Any:
    """Return some rows of what a batch has for each; the rest as it is."""
    return value[rows] if isinstance(value, torch.Tensor) and value.ndim > 0 else value
