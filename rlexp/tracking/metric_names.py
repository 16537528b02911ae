"""Metric names: from those that trainers log under to rlexp's `group/name`, with one slash.

MLflow's page makes a section of charts for what stands before the slash, and refuses parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DROPPED = frozenset({"epoch", "total_flos", "step_time"})
_REWARD_COPIES = re.compile(r"rewards/.+/(mean|std)")
"""Of each of TRL's reward functions; rlexp gives it one, so that this is the reward once more."""

_NAMES = {
    "loss": "train/loss",
    "policy_loss": "train/policy_loss",
    "value_loss": "train/value_loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/lr",
    "train_loss": "train/mean_loss",
    "mean_token_accuracy": "train/token_accuracy",
    "rewards/chosen": "train/reward_chosen",
    "rewards/rejected": "train/reward_rejected",
    "rewards/accuracies": "train/reward_accuracy",
    "rewards/margins": "train/reward_margin",
    "logps/chosen": "train/logp_chosen",
    "logps/rejected": "train/logp_rejected",
    "logits/chosen": "train/logit_chosen",
    "logits/rejected": "train/logit_rejected",
    "accuracy": "train/accuracy",
    "margin": "train/reward_margin",
    "reward": "rollout/reward",
    "reward_std": "rollout/reward_std",
    "frac_reward_zero_std": "rollout/frac_reward_zero_std",
    "completions/mean_length": "rollout/length",
    "completions/min_length": "rollout/length_min",
    "completions/max_length": "rollout/length_max",
    "completions/mean_terminated_length": "rollout/ended_length",
    "completions/min_terminated_length": "rollout/ended_length_min",
    "completions/max_terminated_length": "rollout/ended_length_max",
    "completions/clipped_ratio": "rollout/cut_share",
    "num_tokens": "perf/tokens",
    "train_runtime": "perf/train_seconds",
    "train_samples_per_second": "perf/samples_per_second",
    "train_steps_per_second": "perf/steps_per_second",
}

_POLICY_METRICS = frozenset({"kl", "entropy"})

_PATTERNS = [
    (re.compile(r"reward_(.+)"), "rollout/reward_{}"),
    (re.compile(r"clip_ratio/(.+)"), "train/clip_{}"),
    (re.compile(r"eval_(.+)"), "eval/{}"),
]

_GROUPED = re.compile(r"(?:train|rollout|eval|perf|system|sweep)/[^/]+")
_UNSAFE = re.compile(r"[^\w.-]+")


def tracked_name(name: str, *, sampled: bool) -> str | None:
    """Return the name that rlexp tracks a trainer's metric under; None for what says nothing new.

    KL and entropy are those of the rollout where the trainer `sampled` completions, else those of
    the policy on the data's own answers.

    >>> tracked_name("reward_length", sampled=True)
    'rollout/reward_length'
    >>> tracked_name("sampling/ratio (max)", sampled=True)
    'train/sampling_ratio_max'
    """
    if name in _DROPPED or _REWARD_COPIES.fullmatch(name):
        return None
    if name in _NAMES:
        return _NAMES[name]
    if name in _POLICY_METRICS:
        return f"rollout/{name}" if sampled else f"train/{name}"
    for pattern, template in _PATTERNS:
        if match := pattern.fullmatch(name):
            return template.format(_safe(match.group(1)))
    group, _, rest = name.partition("/") if _GROUPED.fullmatch(name) else ("train", "/", name)
    return f"{group}/{_safe(rest)}"


def tracked_metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return a trainer's logs under rlexp's names. Values that are no numbers are left out.

    A whole log is NaN where a trainer had nothing to average (the length of ended completions when
    none ended), so a NaN passes through: it is a fact, and the spool can hold it.
    """
    sampled = "reward" in logs
    return {
        target: float(value)
        for name, value in logs.items()
        if isinstance(value, (int, float)) and (target := tracked_name(name, sampled=sampled))
    }


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name).strip("_")
