"""Knobs of policy gradients that mean nothing together, each with the remedy."""

from __future__ import annotations

from typing import Any

from rlexp.spec.errors import Problem
from rlexp.trainers.config import KlConfig
from rlexp.trainers.group_config import GrpoLossConfig

CISPO_CAP = 5.0
"""Largest importance weight of `cispo` where nothing else is said: what ScaleRL recommends
(arXiv:2510.13786) and TRL's documentation repeats."""
CLIPPING = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
"""Losses that clip the ratio."""
READERS: dict[str, tuple[str, ...]] = {
    "delta": CLIPPING,
    "epsilon_high": (*CLIPPING, "cispo"),
    "sapo_temperature_pos": ("sapo",),
    "sapo_temperature_neg": ("sapo",),
    "vespo_k_pos": ("vespo",),
    "vespo_lambda_pos": ("vespo",),
    "vespo_k_neg": ("vespo",),
    "vespo_lambda_neg": ("vespo",),
}
"""Knobs that only some losses read, off where they are null or are not there."""
LEVELS = {"luspo": "sequence", "vespo": "token"}
"""The level of importance sampling that a loss is defined for; the others take tokens' or both."""
LENGTH_WEIGHTED = ("bnpo", "dr_grpo", "dapo", "cispo")
"""Losses that would weigh a sequence's one ratio by its length."""


def kl_problems(knobs: KlConfig) -> list[Problem]:
    """Return a problem where the KL divergence in the loss has another's gradient, or none."""
    key, estimator, weights = "algo.kl_estimator", knobs.kl_estimator, knobs.kl_importance_weights
    if knobs.beta == 0 or knobs.kl_in == "reward":
        return []
    if estimator == "k1" and not weights:
        want = "k2 or k3: k1 in the loss without importance weights has a gradient of 0 in the mean"
        remedy = "Set algo.kl_importance_weights=true, or algo.kl_in=reward."
        return [Problem(key, estimator, want, remedy)]
    if estimator == "k2" and weights:
        want = "k1 or k3 with importance weights, which bend the gradient of k2"
        remedy = "Set algo.kl_importance_weights=false, or algo.kl_estimator=k1."
        return [Problem(key, estimator, want, remedy)]
    return []


def _unread_problems(knobs: GrpoLossConfig, trl: dict[str, Any]) -> list[Problem]:
    """Return a problem for each value that the loss does not read."""
    loss, problems = knobs.loss_type, []
    values = {name: (f"algo.trl.{name}", value, "Leave it out") for name, value in trl.items()}
    for name in ("delta", "epsilon_high"):
        values[name] = (f"algo.{name}", getattr(knobs, name), f"Set algo.{name}=null")
    for name, (key, value, off) in values.items():
        readers = READERS.get(name, (loss,))
        if value is not None and loss not in readers:
            want = f"nothing with loss_type={loss}, which does not read it"
            remedy = f"{off}, or set algo.loss_type={readers[0]}."
            problems.append(Problem(key, str(value), want, remedy))
    return problems


def grpo_problems(knobs: GrpoLossConfig, trl: dict[str, Any], again: bool) -> list[Problem]:
    """Return what would mean something else for a loss of GRPO, or nothing at all.

    Args:
        knobs: of the loss.
        trl: `algo.trl`.
        again: whether the policy moves between sampling and the last update on the samples; until
            then every ratio is 1.
    """
    return [
        *kl_problems(knobs),
        *_unread_problems(knobs, trl),
        *_clip_problems(knobs),
        *_level_problems(knobs),
        *_control_problems(knobs),
        *([] if again else _idle_problems(knobs)),
    ]


def _clip_problems(knobs: GrpoLossConfig) -> list[Problem]:
    problems, high = [], knobs.epsilon_high
    if knobs.loss_type == "cispo" and high is not None and high < 1:
        want = "1 or more with loss_type=cispo, which caps the weight itself there"
        remedy = f"Set algo.epsilon_high={CISPO_CAP:g}, or algo.epsilon_high=null for that."
        problems.append(Problem("algo.epsilon_high", f"{high:g}", want, remedy))
    bound = 1 + (knobs.epsilon if high is None else high)
    if knobs.delta is not None and knobs.loss_type in CLIPPING and knobs.delta <= bound:
        want = f"above {bound:g}, where the clip of positive advantages ends"
        remedy = f"Set algo.delta={max(4.0, 2 * bound):g}, or algo.delta=null."
        problems.append(Problem("algo.delta", f"{knobs.delta:g}", want, remedy))
    if knobs.trust_region != "ratio":
        region, remedy = knobs.trust_region, "Set algo.trust_region=ratio."
        if knobs.loss_type not in CLIPPING:
            want = f"ratio with loss_type={knobs.loss_type}, which has bounds of its own"
            problems.append(Problem("algo.trust_region", region, want, remedy))
        elif knobs.importance_sampling_level == "sequence" or knobs.loss_type == "luspo":
            want = "ratio with the ratio of whole answers: its divergence is that of a token"
            problems.append(Problem("algo.trust_region", region, want, remedy))
        if knobs.delta is not None:
            want = f"null with trust_region={region}, which never clips"
            problems.append(Problem("algo.delta", f"{knobs.delta:g}", want, "Set algo.delta=null."))
    return problems


def _level_problems(knobs: GrpoLossConfig) -> list[Problem]:
    loss, level = knobs.loss_type, knobs.importance_sampling_level
    right = "token" if loss in LENGTH_WEIGHTED else LEVELS.get(loss, level)
    if level is None or level == right:
        return []
    want = f"{right} with loss_type={loss}"
    remedy = "Set algo.importance_sampling_level=null. GSPO is algo.loss_type=grpo with sequence."
    return [Problem("algo.importance_sampling_level", level, want, remedy)]


def _control_problems(knobs: GrpoLossConfig) -> list[Problem]:
    control, problems = knobs.entropy_control, []
    level = knobs.importance_sampling_level or LEVELS.get(knobs.loss_type, "token")
    if control != "none" and (knobs.loss_type not in CLIPPING or level == "sequence"):
        want = f"none with loss_type={knobs.loss_type} of {level}s: it chooses tokens to clip"
        other = ", or algo.loss_type=dapo" if level == "token" else ""
        remedy = f"Set algo.entropy_control=none{other}."
        problems.append(Problem("algo.entropy_control", control, want, remedy))
    if knobs.clip_cov_low >= knobs.clip_cov_high:
        want = f"below algo.clip_cov_high ({knobs.clip_cov_high:g})"
        problems.append(Problem("algo.clip_cov_low", f"{knobs.clip_cov_low:g}", want))
    if knobs.cov_share is not None and control == "none":
        want = "null with entropy_control=none, which does nothing to any token"
        remedy = "Set algo.entropy_control=clip_cov, or algo.cov_share=null."
        problems.append(Problem("algo.cov_share", f"{knobs.cov_share:g}", want, remedy))
    return problems


def _idle_problems(knobs: GrpoLossConfig) -> list[Problem]:
    """Return a problem for what only looks at how far the policy has moved."""
    moved = {
        "delta": (knobs.delta, "null"),
        "off_policy_mask_threshold": (knobs.off_policy_mask_threshold, "null"),
        "trust_region": (knobs.trust_region, "ratio"),
        "entropy_control": (
            knobs.entropy_control if knobs.entropy_control == "kl_cov" else None,
            "none",
        ),
    }
    problems = []
    for name, (value, off) in moved.items():
        if value is not None and value != off:
            want = f"{off} with algo.num_iterations=1: in one pass the policy has not moved yet"
            remedy = f"Set algo.num_iterations=2, or algo.{name}={off}."
            problems.append(Problem(f"algo.{name}", str(value), want, remedy))
    return problems
