"""Answers of the policy with what the reward says of them: what a training step learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlexp.trainers.sequences import Sequences

Row = dict[str, Any]
Reward = Callable[..., list[float]]


@dataclass(frozen=True)
class GenerationConfig:
    """How answers are drawn.

    Attributes:
        max_new_tokens: longest answer, its end token included.
        temperature: of the softmax. The policy that is trained is the one at this temperature.
        top_k, top_p: what is kept of the distribution; 0 and 1 keep all.
    """

    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True)
class Rollouts:
    """n answers of the policy with their rewards.

    Attributes:
        sequences: prompts and answers.
        scores: (n,), the reward's values.
        ended: (n,) bool, False where an answer was cut at the length limit.
    """

    sequences: Sequences
    scores: Tensor
    ended: Tensor


def sample_rollouts(
    policy: Any, rows: list[Row], sampling: GenerationConfig, reward: Reward, state: Any = None
) -> tuple[Rollouts, dict[str, float]]:
    """One answer to each row's prompt, scored; and what people want to see of them, by name.

    Args:
        policy: a `rlexp.models.policy.Policy`; it draws from torch's global random state.
        rows: with a `prompt` (text or messages) and the columns that the reward reads.
        sampling: how answers are drawn.
        reward: called as TRL calls reward functions: a conversation's answer is a list of one
            message.
        state: transformers' TrainerState, handed to the reward.
    """
    prompts = [row["prompt"] for row in rows]
    rollout = policy.roll_out(prompts, **vars(sampling))
    sequences = Sequences.of(rollout)
    texts = policy.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
    answers = [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    seen: dict[str, float] = {}
    names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
    columns = {name: [row.get(name) for row in rows] for name in names}
    values = reward(
        prompts=prompts,
        completions=answers,
        log_metric=seen.__setitem__,
        trainer_state=state,
        **columns,
    )
    scores = torch.tensor(values, dtype=torch.float32, device=sequences.mask.device)
    lengths = sequences.mask.sum(1)
    seen |= {
        "reward": scores.mean().item(),
        "reward_std": scores.std(correction=0).item(),
        "completions/mean_length": lengths.mean().item(),
        "completions/mean_terminated_length": lengths[rollout.ended].mean().item(),
        "completions/clipped_ratio": 1 - rollout.ended.float().mean().item(),
    }
    return Rollouts(sequences, scores, rollout.ended), seen
