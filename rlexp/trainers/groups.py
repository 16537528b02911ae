"""Groups of answers to one prompt each, and dynamic sampling of them.

Dynamic sampling is DAPO's (Yu et al. 2025, arXiv:2503.14476, section 3.2): the answers to a prompt
that all earn the same have no advantage, and teach nothing. Such groups are replaced by those of
other prompts, up to a bound, before a trainer learns from the batch. Where the paper samples on
until the batch is full, what is left behind the bound stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rlexp.curriculum.batches import RowOrder
from rlexp.spec.reward import ENDED, TOKENS, WEIGHTED_SUM

Row = dict[str, Any]
Reward = Callable[..., list[float]]

ALIKE = 1e-8
"""Difference of rewards below which TRL takes a group's deviation for 0."""

DISCARDED = "rollout/discarded_tokens"
"""Metric: tokens of a step, of all processes, that were sampled and not learnt from."""


class AnsweringPolicy(Protocol):
    """What is asked of a policy to answer prompts."""

    tokenizer: Any

    @property
    def roll_out(self) -> Callable[..., Any]:
        """One completion a prompt, as a `rlexp.models.sampling.rollout.Rollout`."""
        ...


@dataclass(frozen=True)
class AnsweredRow:
    """A row with a group of answers to its prompt, and what each earns."""

    row: Row
    prompt_ids: list[int]
    completions: list[list[int]]
    log_probs: list[list[float]]
    ended: list[bool]
    """False where an answer was cut at the length limit."""
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
    """The n answers of groups, in the form of a `rlexp.models.sampling.rollout.Rollout`."""

    groups: Sequence[AnsweredRow]
    pad_token_id: int
    device: torch.device | str = "cpu"

    def prompts(self) -> list[list[int]]:
        """Token ids of each answer's prompt."""
        return [group.prompt_ids for group in self.groups for _ in group.completions]

    def completions(self) -> list[list[int]]:
        """Token ids of each answer."""
        return [ids for group in self.groups for ids in group.completions]

    def completion_log_probs(self) -> list[list[float]]:
        """Log-probabilities of each answer's tokens."""
        return [values for group in self.groups for values in group.log_probs]

    @property
    def ended(self) -> Tensor:
        """(n,) bool, False where an answer was cut at the length limit."""
        ended = [end for group in self.groups for end in group.ended]
        return torch.tensor(ended, device=self.device)

    @property
    def prompt_ids(self) -> Tensor:
        """(n, p), padded on the left."""
        return self._padded(self.prompts(), self.pad_token_id, "left")

    @property
    def prompt_mask(self) -> Tensor:
        """(n, p), 1 where a prompt's token stands."""
        return self._padded([[1] * len(ids) for ids in self.prompts()], 0, "left")

    @property
    def completion_ids(self) -> Tensor:
        """(n, t), padded on the right."""
        return self._padded(self.completions(), self.pad_token_id, "right")

    @property
    def completion_mask(self) -> Tensor:
        """(n, t), 1 up to and including the end token."""
        return self._padded([[1] * len(ids) for ids in self.completions()], 0, "right")

    def _padded(self, rows: Sequence[Sequence[int]], filler: int, side: str) -> Tensor:
        tensors = [torch.tensor(row, dtype=torch.long, device=self.device) for row in rows]
        return pad_sequence(tensors, True, filler, padding_side=side)


def answer_rows(
    policy: AnsweringPolicy,
    rows: Sequence[Row],
    answers: int,
    sampling: dict[str, Any],
    reward: Reward,
    state: Any = None,
) -> tuple[list[AnsweredRow], dict[str, float]]:
    """Sample and score so many answers to each row's prompt; with the reward's metrics, by name.

    Rows have a `prompt` (text or messages) and the columns that the reward reads, which is called
    as TRL calls reward functions: a conversation's answer is a list of one message.
    """
    # rollout
    repeated = [row for row in rows for _ in range(answers)]
    prompts = [row["prompt"] for row in repeated]
    rollout = policy.roll_out(prompts, **sampling)
    read, written = rollout.prompts(), rollout.completions()
    log_probs, ended = rollout.completion_log_probs(), [bool(end) for end in rollout.ended]
    texts = policy.tokenizer.batch_decode(written, skip_special_tokens=True)
    said = [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    # score
    metrics: dict[str, float] = {}
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    columns = {name: [row.get(name) for row in repeated] for name in names}
    columns |= {TOKENS: written, ENDED: ended}
    context = {"log_metric": metrics.__setitem__, "trainer_state": state}
    rewards = reward(prompts=prompts, completions=said, **context, **columns)
    # by prompt
    groups = []
    for row, start in zip(rows, range(0, len(repeated), answers), strict=True):
        own = slice(start, start + answers)
        answered = written[own], log_probs[own], ended[own], rewards[own]
        groups.append(AnsweredRow(row, read[start], *answered))
    return groups, metrics


class GroupReplacement:
    """Replaces groups of a batch whose answers all earn the same, in all processes together."""

    def __init__(
        self,
        answer: Callable[[Sequence[Row]], tuple[list[AnsweredRow], dict[str, float]]],
        rows: Sequence[Row],
        order: RowOrder,
        attempts: int,
        accelerator: Any,
    ) -> None:
        """
        Args:
            answer: gives a group of answers to each row, as `answer_rows` does, and metrics. All
                processes call it with as many rows: the reward looks at those of all together.
            rows: of the whole training.
            order: from which other rows are drawn.
            attempts: times that uniform groups are replaced, at most.
            accelerator: accelerate's, which connects the processes.
        """
        self.answer, self.rows, self.order = answer, rows, order
        self.attempts, self.accelerator = attempts, accelerator

    def choose(self, rows: Sequence[Row], batch: int) -> tuple[list[AnsweredRow], dict[str, float]]:
        """Return groups of answers, those that differ as far as may be, and metrics of them.

        Args:
            rows: those that this process was given.
            batch: number of the batch of rollouts.
        """
        groups, metrics = self.answer(rows)
        if not self.attempts:
            return groups, metrics
        drawn = fmean(reward for group in groups for reward in group.rewards)
        metrics["rollout/reward_drawn"] = metrics.get(WEIGHTED_SUM, drawn)
        metrics["rollout/uniform_groups"] = fmean(group.is_uniform for group in groups)
        began, discarded, replaced = time.perf_counter(), 0, 0
        for attempt in range(self.attempts):
            uniform = [place for place, group in enumerate(groups) if group.is_uniform]
            count = int(self._gathered(len(uniform)).max())
            if count == 0:  # in no process is any left
                break
            sampled, _ = self.answer(self._spare_rows(batch, attempt, count, groups))
            differing = [group for group in sampled if not group.is_uniform][: len(uniform)]
            discarded += sum(group.tokens for group in sampled)
            for place, group in zip(uniform, differing, strict=False):
                discarded += groups[place].tokens - group.tokens
                groups[place] = group
            replaced += len(differing)
        metrics["rollout/replaced_groups"] = replaced / len(groups)
        metrics[DISCARDED] = int(self._gathered(discarded).sum())
        metrics["perf/resampling_seconds"] = time.perf_counter() - began
        return groups, metrics

    def _spare_rows(
        self, batch: int, attempt: int, count: int, groups: Sequence[AnsweredRow]
    ) -> list[Row]:
        """Return other rows for this process; prompts of `groups` only for want of others."""
        accelerator, known = self.accelerator, [group.row["prompt"] for group in groups]
        share = count + len(known)
        drawn = self.order.spare_rows(batch, attempt, share * accelerator.num_processes)
        start = share * accelerator.process_index
        rows = [self.rows[row] for row in drawn[start : start + share]]
        return sorted(rows, key=lambda row: row["prompt"] in known)[:count]

    def _gathered(self, number: int) -> Tensor:
        """Return each process's number."""
        accelerator = self.accelerator
        return accelerator.gather(torch.tensor([number], device=accelerator.device))
