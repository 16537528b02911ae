"""The loop that on-policy trainers share: sample, score, update, log, save; resume after a stop.

A trainer derives from `OnPolicyTrainer` and says in `update_policy` what one batch teaches.
The loop calls transformers' TrainerCallbacks at the points where transformers' Trainer calls them,
so that tracking, checkpoints and guards work with these trainers as with TRL's.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    DefaultFlowCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    get_scheduler,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from rlexp.curriculum.batches import BatchShape, uniform
from rlexp.trainers import checkpoint
from rlexp.trainers.config import ReferenceConfig
from rlexp.trainers.groups import DISCARDED, AnsweredRow, GroupReplacement, Row, answer_rows
from rlexp.trainers.passes import rows_of_passes
from rlexp.trainers.reference import ReferenceSync
from rlexp.trainers.rollouts import Rollouts, TrainerInputs

CPU_MICROBATCH = 24
"""Sequences at once on a CPU, which gains nothing from more, while smaller microbatches of answers
of similar length waste less on padding: a fifth of the time of a step of 64."""


class OnPolicyTrainer(ABC):
    """A training of a language model on its own answers.

    Attributes:
        model: the transformers or PEFT model that is trained; `save_pretrained` writes it.
        module: what gradients flow through: the model, or a module around it and a critic, wrapped
            for data parallelism where there are several processes. AdamW's parameter `groups` of it
            have each their peak learning rate.
        reference: gives the logits of the model before training; None outside of `train` and where
            it is not wanted. `sync` renews it.
        micro_batch_size: sequences in memory at once.
        process_batch_size: sequences of this process a step.
        extra_state: numbers beside the weights that a resumed training must find again.
    """

    def __init__(
        self,
        inputs: TrainerInputs,
        config: ReferenceConfig,
        module: torch.nn.Module,
        groups: list[dict[str, Any]],
    ) -> None:
        arguments = self.arguments = inputs.arguments
        device = arguments.device  # asking for it connects the processes
        precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "no"
        self.accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
        self.inputs, self.policy, self.model = inputs, inputs.policy, inputs.policy.model
        self.reference: Callable[..., Any] | None = None
        self.sync = ReferenceSync(config)
        self.extra_state: dict[str, float] = {}
        micro = arguments.per_device_train_batch_size
        self.process_batch_size = micro * arguments.gradient_accumulation_steps
        prompts = self._prompts_a_step()
        curriculum = inputs.curriculum
        shape, drawn_alike = BatchShape(prompts), uniform(arguments.seed, len(inputs.rows))
        self.order = curriculum.order(shape) if curriculum else None
        spare, attempts = self.order or drawn_alike.order(shape), inputs.attempts
        self.replacement = GroupReplacement(
            self._answer, inputs.rows, spare, attempts, self.accelerator
        )
        self.micro_batch_size = min(micro, CPU_MICROBATCH) if device.type == "cpu" else micro
        if arguments.activation_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.module = self.accelerator.prepare_model(module)
        self.optimizer = torch.optim.AdamW(
            groups,
            betas=(arguments.adam_beta1, arguments.adam_beta2),
            eps=arguments.adam_epsilon,
            weight_decay=arguments.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        steps, kind = arguments.max_steps, arguments.lr_scheduler_type
        warmup = arguments.get_warmup_steps(steps)
        self.scheduler = get_scheduler(kind, self.optimizer, warmup, steps)
        self.callbacks = [DefaultFlowCallback(), *inputs.callbacks]
        first = self.accelerator.is_main_process
        self.state = TrainerState(max_steps=steps, is_world_process_zero=first)
        self.state.compute_steps(arguments, steps)
        self.control = TrainerControl()

    @abstractmethod
    def update_policy(self, rollouts: Rollouts) -> dict[str, float]:
        """Update the policy from its own answers; return metrics of that, by name."""

    def extra_module(self) -> torch.nn.Module | None:
        """Return what is trained beside the policy's model and is kept in checkpoints."""
        return None

    def add_callback(self, callback: TrainerCallback) -> None:
        """Call a TrainerCallback from now on."""
        self.callbacks.append(callback)

    def remove_callback(self, callback: type[TrainerCallback]) -> None:
        """Stop calling callbacks of this class."""
        self.callbacks = [known for known in self.callbacks if not isinstance(known, callback)]

    def train(self, resume_from_checkpoint: str | Path | None = None) -> None:
        """Train for `max_steps` batches of answers, on from a checkpoint as if never stopped."""
        folder = None if resume_from_checkpoint is None else Path(resume_from_checkpoint)
        reference = self.policy.reference() if self.inputs.keeps_reference else nullcontext()
        with reference as self.reference:
            self.sync.reference = self.reference  # a module where it is to be renewed
            if folder is not None:
                self._load(folder)
            self._call_event("on_train_begin")
            # Last, since what loading and callbacks have drawn is no part of the training.
            self._restore_random_state(folder)
            while self.state.global_step < self.state.max_steps:
                self._step()
                if self.control.should_training_stop:
                    break
            self._call_event("on_train_end")
        self.reference = self.sync.reference = None

    def _restore_random_state(self, folder: Path | None) -> None:
        """Take the random state of this process in a checkpoint, or one of its own."""
        process = self.accelerator.process_index
        if folder is not None and checkpoint.has_random_state(folder, process):
            checkpoint.load_random_state(folder, process)
        elif folder is not None or self.accelerator.num_processes > 1:  # else all sample alike
            set_seed(self.arguments.seed + self.state.global_step, device_specific=True)

    def _step(self) -> None:
        self._call_event("on_step_begin")
        # rollout, score
        rollouts, metrics = self._sample_batch(self.state.global_step)
        tokens = self.reduce_sum(rollouts.sequences.attention_mask.sum())
        self.state.num_input_tokens_seen += int(tokens)
        # update
        self.disable_dropout()
        rates = self.scheduler.get_last_lr()  # of this step; `step` moves on to the next one's
        metrics |= self.update_policy(rollouts)
        self.scheduler.step()
        self._call_event("on_optimizer_step")
        self.state.global_step += 1
        self.sync.after_step(self.state.global_step, self.model)
        self.state.epoch = self.state.global_step * self._prompts_a_step() / len(self.inputs.rows)
        self._call_event("on_step_end")
        # log
        if self.control.should_log:
            logs = {**self._reduce_mean(metrics), "learning_rate": rates[0]}
            logs["num_tokens"] = self.state.num_input_tokens_seen
            self.state.log_history.append({**logs, "step": self.state.global_step})
            self.control.should_log = False
            self._call_event("on_log", logs=logs)
        # save
        if self.control.should_save:
            self.control.should_save = False
            self._save(Path(str(self.arguments.output_dir), f"checkpoint-{self.state.global_step}"))
            self._call_event("on_save")

    def _sample_batch(self, step: int) -> tuple[Rollouts, dict[str, float]]:
        """Return this process's answers at a step, of which groups that teach nothing have been
        replaced where that is wanted, and metrics of them."""
        groups, metrics = self.replacement.choose(self._rows_of_step(step), step)
        self.state.num_input_tokens_seen += int(metrics.get(DISCARDED, 0))
        pad, device = self.policy.tokenizer.pad_token_id, self.accelerator.device
        rollouts = Rollouts.from_groups(groups, pad, device)
        metrics |= rollouts.metrics(self.inputs.generations)
        return rollouts.whitened_by(self.inputs.whiten), metrics

    def _answer(self, rows: Sequence[Row]) -> tuple[list[AnsweredRow], dict[str, float]]:
        inputs, sampling = self.inputs, vars(self.inputs.sampling)
        answers = inputs.generations
        return answer_rows(self.policy, rows, answers, sampling, inputs.reward, self.state)

    def optimizer_step(
        self, microbatches: list[Tensor], loss_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Take one optimizer step on sequences of this process; return the norm of the gradient.

        The shares that microbatches have in the loss must add up to it; over several processes the
        losses are averaged.
        """
        for number, microbatch in enumerate(microbatches, start=1):
            # Gradients are exchanged once, in the last backward pass.
            last = number == len(microbatches)
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                self.accelerator.backward(loss_of(microbatch))
        scaler = self.accelerator.scaler  # of float16's losses, whose gradients would underflow
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        limit = self.arguments.max_grad_norm or float("inf")  # infinity measures and clips nothing
        norm = torch.nn.utils.clip_grad_norm_(weights, limit)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)  # leaves out a step whose gradients overflowed
            scaler.update()
        self.optimizer.zero_grad()
        return norm.detach()

    def reduce_sum(self, share: Tensor) -> Tensor:
        """Return the sum of a number over all processes."""
        return torch.as_tensor(self.accelerator.reduce(share, "sum"))

    def disable_dropout(self) -> None:
        """Make both passes that form a ratio of probabilities see the same network.

        Layers that recompute their activations do so only in training mode, so they alone have it.
        """
        self.module.eval()
        for layer in self.module.modules():
            if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
                layer.training = True

    def _prompts_a_step(self) -> int:
        sequences = self.process_batch_size * self.accelerator.num_processes
        return sequences // self.inputs.generations

    def _rows_of_step(self, step: int) -> list[Row]:
        """Return this process's rows at a step, one a prompt, by seed and step, so that nothing is
        stored."""
        count = self._prompts_a_step()
        mine = count // self.accelerator.num_processes
        start = self.accelerator.process_index * mine
        if self.order is not None:
            chosen = self.order.rows_at(step)[start : start + mine]
        else:
            first, total = step * count + start, len(self.inputs.rows)
            chosen = rows_of_passes(self.arguments.seed, first, mine, total)
        return [self.inputs.rows[row] for row in chosen]

    def _reduce_mean(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return means over the processes."""
        values = torch.tensor(list(metrics.values()), device=self.accelerator.device)
        means = torch.as_tensor(self.accelerator.reduce(values, "mean"))
        return dict(zip(metrics, means.tolist(), strict=True))

    def _call_event(self, event: str, **details: Any) -> None:
        details |= {"model": self.model, "processing_class": self.policy.tokenizer}
        details |= {"optimizer": self.optimizer, "lr_scheduler": self.scheduler}
        for callback in self.callbacks:
            call = getattr(callback, event)
            self.control = call(self.arguments, self.state, self.control, **details) or self.control

    def _save(self, folder: Path) -> None:
        first, extra = self.accelerator.is_main_process, self.extra_module()
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save_random_state(folder, self.accelerator.process_index)
        # All processes ask for the states, which are gathered where they are sharded; one writes.
        self.model.save_pretrained(folder, is_main_process=first)
        critic = None if extra is None else extra.state_dict()
        optimizer = self.optimizer.state_dict()
        if first:
            self.policy.tokenizer.save_pretrained(folder)
            if critic is not None:
                checkpoint.save_tensors(critic, folder / "critic.safetensors")
            self.sync.save(folder)
            training = {
                "optimizer": checkpoint.save_optimizer(optimizer, folder),
                "scheduler": self.scheduler.state_dict(),
                "numbers": self.extra_state,
                "loss_scale": scaler.state_dict() if (scaler := self.accelerator.scaler) else {},
            }
            (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
            self.state.save_to_json(str(folder / "trainer_state.json"))
        self.accelerator.wait_for_everyone()

    def _load(self, folder: Path) -> None:
        training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        checkpoint.restore_policy(self.model, folder)
        if (extra := self.extra_module()) is not None:
            extra.load_state_dict(load_file(folder / "critic.safetensors"))
        self.sync.load(folder)
        checkpoint.load_optimizer(self.optimizer, folder, training["optimizer"])
        self.scheduler.load_state_dict(training["scheduler"])
        self.extra_state = training["numbers"]
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(training["loss_scale"])
        # A resumed run may have more steps to do, and another process that comes first.
        steps, first = self.state.max_steps, self.state.is_world_process_zero
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        self.state.max_steps, self.state.is_world_process_zero = steps, first
