"""Dynamic sampling of DAPO (Yu et al. 2025, arXiv:2503.14476, section 3.2) for TRL's trainers.

The answers to a prompt that all earn the same have no advantage, and teach nothing. Such groups are
replaced by those of other prompts, up to a bound, before the trainer learns from the batch: it then
finds the rows that were chosen in the place of its own, and their answers and rewards ready. Where
the paper samples on until the batch is full, what is left behind the bound stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import torch

from rlexp.algos.common.policy import PolicyToTrain
from rlexp.algos.common.reward_function import RewardFunction
from rlexp.curriculum.batches import BatchShape, Curriculum
from rlexp.scoring.scorer import ScoredBatch

Row = dict[str, Any]

ALIKE = 1e-8
"""Difference of rewards below which TRL takes a group's deviation for 0."""


@dataclass(frozen=True)
class AnsweredRow:
    """A row with a group of answers to its prompt, and what each earns."""

    row: Row
    prompt_ids: list[int]
    completions: list[list[int]]
    log_probs: list[list[float]]
    rewards: list[float]

    @property
    def is_uniform(self) -> bool:
        """Whether all answers earn the same."""
        return max(self.rewards) - min(self.rewards) < ALIKE

    @property
    def tokens(self) -> int:
        """Tokens that were read and written."""
        return sum(len(self.prompt_ids) + len(ids) for ids in self.completions)


@dataclass(frozen=True)
class KeptAnswers:
    """The answers of groups, in the form of a `rlexp.models.sampling.rollout.Rollout`."""

    groups: Sequence[AnsweredRow]
    pad_token_id: int

    def prompts(self) -> list[list[int]]:
        """Token ids of each answer's prompt."""
        return [group.prompt_ids for group in self.groups for _ in group.completions]

    def completions(self) -> list[list[int]]:
        """Token ids of each answer."""
        return [ids for group in self.groups for ids in group.completions]

    def completion_log_probs(self) -> list[list[float]]:
        """Log-probabilities of each answer's tokens."""
        return [values for group in self.groups for values in group.log_probs]

    @cached_property
    def completion_ids(self) -> torch.Tensor:
        """(n, t), padded on the right."""
        ids = [torch.tensor(one) for one in self.completions()]
        return torch.nn.utils.rnn.pad_sequence(ids, True, self.pad_token_id)


class DynamicSampler:
    """Chooses the rows of each batch of rollouts of one of TRL's trainers with groups of answers.

    It stands in the place of the trainer's `training_step`, which is called once a backward pass.
    """

    def __init__(
        self,
        trainer: Any,
        policy: PolicyToTrain,
        reward: RewardFunction,
        curriculum: Curriculum,
        sampling: dict[str, Any],
        attempts: int,
    ) -> None:
        """
        Args:
            trainer: a GRPOTrainer or RLOOTrainer that samples by the policy's `roll_out_ids`.
            policy: whose model is trained.
            reward: the trainer's.
            curriculum: from which other prompts are drawn.
            sampling: how answers are drawn, in the words of `roll_out`.
            attempts: times that uniform groups are replaced, at most.
        """
        self.trainer, self.policy, self.reward, self.sampling = trainer, policy, reward, sampling
        self.attempts, self.learn = attempts, trainer.training_step
        arguments = trainer.args
        self.answers = arguments.num_generations
        self.shape = BatchShape(
            arguments.generation_batch_size // self.answers,
            arguments.steps_per_generation * arguments.num_iterations,
            arguments.gradient_accumulation_steps,
        )
        self.order = curriculum.order(self.shape)
        self.passes: int | None = None  # done in this training; None before its first one

    def __call__(self, model: Any, inputs: list[Row], *rest: Any) -> Any:
        """Take a trainer's step on rows, of which those that teach nothing are replaced first."""
        done = self.trainer.state.global_step * self.shape.accumulation
        passes: int = done if self.passes is None else self.passes
        self.passes = passes + 1
        if passes % self.shape.repeats:  # TRL learns once more from the answers that it has
            return self.learn(model, inputs, *rest)
        groups, metrics = self.choose(inputs[:: self.answers], passes // self.shape.repeats)
        rows = [group.row for group in groups for _ in range(self.answers)]
        with self._ready(groups, metrics):
            return self.learn(model, rows, *rest)

    def choose(self, rows: Sequence[Row], batch: int) -> tuple[list[AnsweredRow], dict[str, float]]:
        """Return groups of answers, those that differ as far as may be, and metrics of them.

        Args:
            rows: those that this process was given.
            batch: number of the batch of rollouts.
        """
        groups, metrics = self._answer(rows)
        drawn = [reward for group in groups for reward in group.rewards]
        metrics["rollout/reward_drawn"] = fmean(drawn)
        metrics["rollout/uniform_groups"] = fmean(group.is_uniform for group in groups)
        discarded = replaced = 0
        for attempt in range(self.attempts):
            uniform = [place for place, group in enumerate(groups) if group.is_uniform]
            count = int(self._gathered(len(uniform)).max())
            if count == 0:  # in no process is any left
                break
            sampled, _ = self._answer(self._spare_rows(batch, attempt, count, groups))
            differing = [group for group in sampled if not group.is_uniform][: len(uniform)]
            discarded += sum(group.tokens for group in sampled)
            for place, group in zip(uniform, differing, strict=False):
                discarded += groups[place].tokens - group.tokens
                groups[place] = group
            replaced += len(differing)
        tokens = int(self._gathered(discarded).sum())
        self.trainer.state.num_input_tokens_seen += tokens
        metrics["rollout/replaced_groups"] = replaced / len(groups)
        metrics["rollout/discarded_tokens"] = tokens
        return groups, metrics

    def _spare_rows(
        self, batch: int, attempt: int, count: int, groups: Sequence[AnsweredRow]
    ) -> list[Row]:
        """Return other rows for this process; prompts of `groups` only for want of others."""
        accelerator, known = self.trainer.accelerator, [group.row["prompt"] for group in groups]
        share = count + len(known)
        drawn = self.order.spare_rows(batch, attempt, share * accelerator.num_processes)
        start = share * accelerator.process_index
        rows = [self.trainer.train_dataset[row] for row in drawn[start : start + share]]
        return sorted(rows, key=lambda row: row["prompt"] in known)[:count]

    def _answer(self, rows: Sequence[Row]) -> tuple[list[AnsweredRow], dict[str, float]]:
        """Return a group of answers to each row, and the reward's metrics; all processes call it.

        Their rows are as many: the reward looks at those of all together.
        """
        repeated = [row for row in rows for _ in range(self.answers)]
        prompts = [row["prompt"] for row in repeated]
        rollout = self.policy.roll_out(prompts, **self.sampling)
        read, written, log_probs = (
            rollout.prompts(),
            rollout.completions(),
            rollout.completion_log_probs(),
        )
        texts = self.policy.tokenizer.batch_decode(written, skip_special_tokens=True)
        answers = [
            text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        columns = {name: [row[name] for row in repeated] for name in rows[0] if name != "prompt"}
        metrics: dict[str, float] = {}
        log, state = metrics.__setitem__, self.trainer.state
        rewards = self.reward(prompts, answers, log_metric=log, trainer_state=state, **columns)
        size = self.answers
        groups = [
            AnsweredRow(
                row,
                read[start],
                written[start : start + size],
                log_probs[start : start + size],
                rewards[start : start + size],
            )
            for row, start in zip(rows, range(0, len(repeated), size), strict=True)
        ]
        return groups, metrics

    @contextmanager
    def _ready(self, groups: Sequence[AnsweredRow], metrics: dict[str, float]) -> Iterator[None]:
        """Let the trainer find these answers where it samples, and their rewards where it asks."""
        kept = KeptAnswers(groups, self.policy.tokenizer.pad_token_id)
        rewards = [reward for group in groups for reward in group.rewards]
        before: Callable[..., Any] | None = self.policy.sampler
        self.policy.sampler = lambda prompts, **sampling: kept
        self.reward.scored = ScoredBatch(rewards, metrics)
        try:
            yield
        finally:
            self.policy.sampler, self.reward.scored = before, None

    def _gathered(self, number: int) -> torch.Tensor:
        """Return each process's number."""
        accelerator = self.trainer.accelerator
        return accelerator.gather(torch.tensor([number], device=accelerator.device))
