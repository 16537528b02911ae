"""Answers of the policy with what the reward says of them: what a training step learns from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerState, TrainingArguments

from rlexp.curriculum.batches import Curriculum
from rlexp.trainers.sequences import SampledAnswers, Sequences

Row = dict[str, Any]
Reward = Callable[..., list[float]]


class TrainablePolicy(Protocol):
    """What the trainers ask of a policy, such as a `rlexp.models.policy.Policy`."""

    model: Any
    """transformers causal LM, or a PEFT model around one."""
    tokenizer: Any
    """Pads on the left."""

    @property
    def roll_out(self) -> Callable[..., SampledAnswers]:
        """One completion a prompt, by a `GenerationConfig`, from torch's global random state."""
        ...

    def reference(self) -> AbstractContextManager[Callable[..., Any]]:
        """The model as it was before training."""
        ...


@dataclass(frozen=True)
class GenerationConfig:
    """How answers are drawn."""

    max_new_tokens: int
    """Longest answer, its end token included."""
    temperature: float
    """Of the softmax. The policy that is trained is the one at this temperature."""
    top_k: int
    """What is kept of the distribution; 0 and 1 keep all."""
    top_p: float


@dataclass(frozen=True)
class TrainerInputs:
    """What is trained, on what and how."""

    arguments: TrainingArguments
    """Transformers' own; those that the loop reads are the output folder, batch sizes, steps,
    learning rate and its schedule, AdamW's constants, gradient clipping and checkpointing, logging
    and saving, precision and seed."""
    policy: TrainablePolicy
    """Its model has the adapter, where there is one."""
    rows: list[Row]
    """With a `prompt` (text or messages) and the columns that the reward reads."""
    reward: Reward
    """Called as TRL calls reward functions."""
    sampling: GenerationConfig
    callbacks: list[TrainerCallback]
    """Transformers', called as its Trainer calls them."""
    generations: int
    """Answers a prompt."""
    keeps_reference: bool
    """Whether the model as it was before training is wanted."""
    curriculum: Curriculum | None = None
    """Which of the rows each batch has; None draws each once a pass, at random."""


@dataclass(frozen=True)
class Rollouts:
    """n answers of the policy with their rewards."""

    sequences: Sequences
    scores: Tensor
    """(n,), the reward's values."""
    ended: Tensor
    """(n,) bool, False where an answer was cut at the length limit."""


def sample_rollouts(
    policy: TrainablePolicy,
    rows: list[Row],
    sampling: GenerationConfig,
    reward: Reward,
    state: TrainerState | None = None,
) -> tuple[Rollouts, dict[str, float]]:
    """Sample and score one answer to each row's prompt; with metrics of them, by name.

    Rows have a `prompt` (text or messages) and the columns that the reward reads, which is called
    as TRL calls reward functions: a conversation's answer is a list of one message.
    """
    # rollout
    prompts = [row["prompt"] for row in rows]
    rollout = policy.roll_out(prompts, **vars(sampling))
    sequences = Sequences.from_rollout(rollout)
    texts = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
    answers = [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    # score
    metrics: dict[str, float] = {}
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    columns = {name: [row.get(name) for row in rows] for name in names}
    context = {"log_metric": metrics.__setitem__, "trainer_state": state}
    values = reward(prompts=prompts, completions=answers, **context, **columns)
    scores = torch.tensor(values, dtype=torch.float32, device=sequences.mask.device)
    lengths = sequences.mask.sum(1)
    metrics |= {
        "reward": scores.mean().item(),
        "reward_std": scores.std(correction=0).item(),
        "completions/mean_length": lengths.mean().item(),
        "completions/mean_terminated_length": lengths[rollout.ended].mean().item(),
        "completions/clipped_ratio": 1 - rollout.ended.float().mean().item(),
    }
    return Rollouts(sequences, scores, rollout.ended), metrics
