"""Answers of the policy with what the reward says of them: what a training step learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

from rlexp.curriculum.batches import Curriculum
from rlexp.trainers.groups import ALIKE, AnsweredRow, KeptAnswers, Reward, Row
from rlexp.trainers.token_scores.sequences import SampledAnswers, Sequences


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
    attempts: int = 0
    """Times at most that groups of answers which all earn the same are replaced in a batch."""
    whiten: Callable[[list[float]], list[float]] = list
    """Makes of the rewards of a whole batch, of this process's part, what is learnt from."""


@dataclass(frozen=True)
class Rollouts:
    """n answers of the policy with their rewards."""

    sequences: Sequences
    scores: Tensor
    """(n,), the reward's values."""
    ended: Tensor
    """(n,) bool, False where an answer was cut at the length limit."""

    @classmethod
    def from_groups(
        cls, groups: Sequence[AnsweredRow], pad_token_id: int, device: torch.device | str
    ) -> Rollouts:
        """Put the answers of groups into tensors, group by group."""
        kept = KeptAnswers(groups, pad_token_id, device)
        rewards = [reward for group in groups for reward in group.rewards]
        scores = torch.tensor(rewards, dtype=torch.float32, device=device)
        return cls(Sequences.from_rollout(kept), scores, kept.ended)

    def whitened_by(self, whiten: Callable[[list[float]], list[float]]) -> Rollouts:
        """Return the same with the scores that `whiten` makes of all of them."""
        scores = torch.tensor(whiten(self.scores.tolist()), dtype=torch.float32)
        return replace(self, scores=scores.to(self.scores.device))

    def metrics(self, answers: int) -> dict[str, float]:
        """Return what is logged of them, so many answers to each prompt."""
        lengths = self.sequences.mask.sum(1)
        groups = self.scores.view(-1, answers)
        alike = groups.max(1).values - groups.min(1).values < ALIKE
        of_groups = {"frac_reward_zero_std": alike.float().mean().item()} if answers > 1 else {}
        return of_groups | {
            "reward": self.scores.mean().item(),
            "reward_std": self.scores.std(correction=0).item(),
            "completions/mean_length": lengths.mean().item(),
            "completions/mean_terminated_length": lengths[self.ended].mean().item(),
            "completions/clipped_ratio": 1 - self.ended.float().mean().item(),
        }
