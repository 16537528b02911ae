"""The loop that on-policy trainers share: sample, score, learn, log, keep; and go on after a stop.

A trainer derives from `OnPolicyTrainer` and says in `learn` what one batch of answers teaches.
The loop calls transformers' TrainerCallbacks at the points where transformers' Trainer calls them,
so that tracking, checkpoints and guards work with these trainers as with TRL's.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from transformers import (
    DefaultFlowCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    get_scheduler,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from rlexp.trainers import checkpoint
from rlexp.trainers.rollouts import GenerationConfig, Reward, Rollouts, Row, sample_rollouts

CPU_PIECE = 24
"""Sequences at once on a CPU, which gains nothing from more, while smaller pieces of answers of
similar length waste less on padding: a fifth of the time of a step of 64."""


@dataclass(frozen=True)
class TrainerInputs:
    """What is trained, on what and how.

    Attributes:
        arguments: transformers' own; those that the loop reads are the output folder, batch sizes,
            steps, learning rate and its schedule, AdamW's constants, gradient clipping and
            checkpointing, logging and saving, precision and seed.
        policy: a `rlexp.models.policy.Policy`; its model has the adapter, where there is one.
        rows: with a `prompt` (text or messages) and the columns that the reward reads.
        reward: called as TRL calls reward functions.
        sampling: how answers are drawn.
        callbacks: transformers TrainerCallbacks.
        generations: answers a prompt.
        keeps_reference: whether the model as it was before training is wanted.
    """

    arguments: TrainingArguments
    policy: Any
    rows: list[Row]
    reward: Reward
    sampling: GenerationConfig
    callbacks: list[Any]
    generations: int
    keeps_reference: bool


class OnPolicyTrainer(ABC):
    """A training of a language model on its own answers.

    Attributes:
        model: the transformers or PEFT model that is trained; `save_pretrained` writes it.
        module: what gradients flow through: the model, or a module around it and a critic, wrapped
            for data parallelism where there are several processes.
        reference: gives the logits of the model before training; None outside of `train` and where
            it is not wanted.
        micro: sequences in memory at once.
        extra_state: numbers beside the weights that a resumed training must find again.
    """

    def __init__(self, task: TrainerInputs, module: Any, groups: list[dict[str, Any]]) -> None:
        """
        Args:
            task: what to do.
            module: holds the policy's model, and all that is trained.
            groups: AdamW's parameter groups, each with its peak learning rate.
        """
        arguments = self.arguments = task.arguments
        device = arguments.device  # asking for it connects the processes
        precision = "bf16" if arguments.bf16 else "no"
        self.accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
        self.task, self.policy, self.model = task, task.policy, task.policy.model
        self.reference: Any = None
        self.extra_state: dict[str, float] = {}
        self.micro = arguments.per_device_train_batch_size
        self.share = self.micro * arguments.gradient_accumulation_steps
        if device.type == "cpu":
            self.micro = min(self.micro, CPU_PIECE)
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
        steps = arguments.max_steps
        warmup = arguments.get_warmup_steps(steps)
        kind = arguments.lr_scheduler_type
        self.scheduler = get_scheduler(kind, self.optimizer, warmup, steps)
        self.callbacks = [DefaultFlowCallback(), *task.callbacks]
        first = self.accelerator.is_main_process
        self.state = TrainerState(max_steps=steps, is_world_process_zero=first)
        self.state.compute_steps(arguments, steps)
        self.control = TrainerControl()

    @abstractmethod
    def learn(self, rollouts: Rollouts) -> dict[str, float]:
        """Update the policy from its own answers; what was seen on the way, by name."""

    def more_weights(self) -> torch.nn.Module | None:
        """What is trained beside the policy's model and is kept in checkpoints."""
        return None

    def add_callback(self, callback: Any) -> None:
        """Call a TrainerCallback from now on."""
        self.callbacks.append(callback)

    def remove_callback(self, kind: type) -> None:
        """Stop calling callbacks of this class."""
        self.callbacks = [each for each in self.callbacks if not isinstance(each, kind)]

    def train(self, resume_from_checkpoint: str | Path | None = None) -> None:
        """Train for `max_steps` batches of answers.

        Args:
            resume_from_checkpoint: a folder that an earlier call wrote; the training goes on from
                there exactly as if it had not stopped.
        """
        wanted = self.policy.reference() if self.task.keeps_reference else nullcontext()
        with wanted as self.reference:
            if resume_from_checkpoint is not None:
                self._load(Path(resume_from_checkpoint))
            self._call("on_train_begin")
            self._seed(Path(resume_from_checkpoint) if resume_from_checkpoint else None)
            while self.state.global_step < self.state.max_steps:
                self._step()
                if self.control.should_training_stop:
                    break
            self._call("on_train_end")
        self.reference = None

    def _seed(self, folder: Path | None) -> None:
        """The random state of this process in a checkpoint, or one of its own."""
        process = self.accelerator.process_index
        if folder is not None and checkpoint.has_random_state(folder, process):
            checkpoint.load_random_state(folder, process)
        elif folder is not None or self.accelerator.num_processes > 1:  # else all sample alike
            set_seed(self.arguments.seed + self.state.global_step, device_specific=True)

    def _step(self) -> None:
        self._call("on_step_begin")
        task, rows = self.task, self._rows(self.state.global_step)
        rollouts, seen = sample_rollouts(task.policy, rows, task.sampling, task.reward, self.state)
        tokens = self.total(rollouts.sequences.attention_mask.sum())
        self.state.num_input_tokens_seen += int(tokens)
        self.without_dropout()
        rates = self.scheduler.get_last_lr()
        seen |= self.learn(rollouts)
        self.scheduler.step()
        self._call("on_optimizer_step")
        self.state.global_step += 1
        self.state.epoch = self.state.global_step * self._prompts_a_step() / len(self.task.rows)
        self._call("on_step_end")
        if self.control.should_log:
            logs = {**self._averaged(seen), "learning_rate": rates[0]}
            logs["num_tokens"] = self.state.num_input_tokens_seen
            self.state.log_history.append({**logs, "step": self.state.global_step})
            self.control.should_log = False
            self._call("on_log", logs=logs)
        if self.control.should_save:
            self.control.should_save = False
            self._save(Path(str(self.arguments.output_dir), f"checkpoint-{self.state.global_step}"))
            self._call("on_save")

    def update(self, pieces: list[Tensor], loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """One optimizer step; the norm of the gradient.

        Args:
            pieces: which sequences of this process, as many at once as fit in memory.
            loss_of: the share in the loss of some of them. The shares must add up to the loss;
                over several processes the losses are averaged.
        """
        for number, piece in enumerate(pieces, start=1):
            last = number == len(pieces)
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                self.accelerator.backward(loss_of(piece))
        trained = [each for group in self.optimizer.param_groups for each in group["params"]]
        limit = self.arguments.max_grad_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(trained, limit)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm.detach()

    def total(self, share: Tensor) -> Tensor:
        """The sum of a number over all processes."""
        return torch.as_tensor(self.accelerator.reduce(share, "sum"))

    def without_dropout(self) -> None:
        """Both passes that form a ratio of probabilities must see the same network.

        Layers that recompute their activations do so only in training mode, so they alone have it.
        """
        self.module.eval()
        for layer in self.module.modules():
            if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
                layer.training = True

    def _prompts_a_step(self) -> int:
        return self.share * self.accelerator.num_processes // self.task.generations

    def _rows(self, step: int) -> list[Row]:
        """This process's rows at a step: a function of seed and step, so that nothing is stored."""
        count, total = self._prompts_a_step(), len(self.task.rows)
        mine = count // self.accelerator.num_processes
        start = step * count + self.accelerator.process_index * mine
        places = (divmod(place, total) for place in range(start, start + mine))
        rows = [self.task.rows[_order(self.arguments.seed, epoch, total)[i]] for epoch, i in places]
        return [row for row in rows for _ in range(self.task.generations)]

    def _averaged(self, seen: dict[str, float]) -> dict[str, float]:
        """Means over the processes."""
        values = torch.tensor(list(seen.values()), device=self.accelerator.device)
        means = torch.as_tensor(self.accelerator.reduce(values, "mean"))
        return dict(zip(seen, means.tolist(), strict=True))

    def _call(self, event: str, **known: Any) -> None:
        for callback in self.callbacks:
            answer = getattr(callback, event)(
                self.arguments,
                self.state,
                self.control,
                model=self.model,
                processing_class=self.policy.tokenizer,
                optimizer=self.optimizer,
                lr_scheduler=self.scheduler,
                **known,
            )
            self.control = answer or self.control

    def _save(self, folder: Path) -> None:
        first, more = self.accelerator.is_main_process, self.more_weights()
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save_random_state(folder, self.accelerator.process_index)
        # All processes ask for the states, which are gathered where they are sharded; one writes.
        self.model.save_pretrained(folder, is_main_process=first)
        critic = None if more is None else more.state_dict()
        optimizer = self.optimizer.state_dict()
        if first:
            self.policy.tokenizer.save_pretrained(folder)
            if critic is not None:
                checkpoint.save_tensors(critic, folder / "critic.safetensors")
            rest = {
                "optimizer": checkpoint.save_optimizer(optimizer, folder),
                "scheduler": self.scheduler.state_dict(),
                "numbers": self.extra_state,
            }
            (folder / "training.json").write_text(json.dumps(rest), encoding="utf-8")
            self.state.save_to_json(str(folder / "trainer_state.json"))
        self.accelerator.wait_for_everyone()

    def _load(self, folder: Path) -> None:
        rest = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        checkpoint.restore_policy(self.model, folder)
        if (more := self.more_weights()) is not None:
            more.load_state_dict(checkpoint.load_tensors(folder / "critic.safetensors"))
        checkpoint.load_optimizer(self.optimizer, folder, rest["optimizer"])
        self.scheduler.load_state_dict(rest["scheduler"])
        self.extra_state = rest["numbers"]
        steps, first = self.state.max_steps, self.state.is_world_process_zero
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        self.state.max_steps, self.state.is_world_process_zero = steps, first


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of the rows in one pass over them."""
    generator = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(count, generator=generator).tolist()
