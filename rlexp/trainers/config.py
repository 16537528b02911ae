"""The knobs of PPO, REINFORCE and a KL penalty, each declared here and nowhere else.

Their defaults stand in yaml. `rlexp.algos.ppo.Ppo`, which `conf/algo/ppo.yaml` names, is a
`PpoConfig` and is handed to the trainer as one: a new knob is a key there and a field here. No
torch, which a command line's check does not wait for.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlexp.spec.part import Part

KlEstimator = Literal["k1", "k2", "k3"]
Baseline = Literal["none", "moving_average", "leave_one_out"]


class ReferenceConfig(Part):
    """What becomes of the reference while the policy is trained (`rlexp.trainers.reference`)."""

    sync_reference: int | None = Field(gt=0)
    """Steps after which the reference is renewed from the policy (TR-DPO, arXiv:2404.09656); null
    keeps the model that the training began with. A checkpoint holds it as well."""
    sync_reference_mix: float = Field(gt=0, le=1)
    """Weight of the policy in the renewed reference; the rest is the reference of before."""


class KlConfig(ReferenceConfig):
    """How the KL divergence from the reference is estimated, and where it counts."""

    beta: float
    """KL coefficient."""
    kl_estimator: KlEstimator
    """How the KL divergence is estimated at a token (Schulman 2020): k1 = log ratio, unbiased; k2 =
    half its square; k3, never negative."""
    kl_in: Literal["loss", "reward"]
    """`reward`: taken off an answer's reward before its group is compared, with k1 the policy
    gradient of the KL divergence. `loss`: differentiated at each token; its gradient is that of the
    KL divergence for k1 and k3 with the importance weight in it, and for k2 without
    (arXiv:2506.09477)."""
    kl_importance_weights: bool
    """Multiply the estimate in the loss by the ratio of new to old policy (DeepSeek-V3.2,
    arXiv:2512.02556). Without it k3 has the gradient of KL(reference || policy), and k1 none."""


class PpoConfig(ReferenceConfig):
    """What `rlexp.trainers.ppo` can be told of the algorithm itself."""

    beta: float = Field(ge=0)
    """KL coefficient: what a nat of drift from the reference costs, in units of the reward."""
    kl_estimator: KlEstimator
    """How the KL divergence is estimated at a token (Schulman 2020): k1 = log ratio, unbiased; k2 =
    half its square; k3, never negative. As a penalty only k1 has the KL's own gradient."""
    kl_target: float | None = Field(gt=0)
    """KL divergence from the reference, in nats an answer, that `beta` is adapted to (Ziegler et
    al. 2019, arXiv:1909.08593); null keeps `beta`."""
    kl_horizon: int = Field(gt=0)
    """Answers over which an adaptive `beta` can change by a fifth."""
    early_stop_kl: float | None = Field(gt=0)
    """KL divergence from the policy that sampled, in nats a token, above which the rest of a
    batch's updates is left out; null never does."""
    gamma: float = Field(gt=0, le=1)
    """Discount of the reward a token; 1 for answers, whose reward comes at the end."""
    lam: float = Field(ge=0, le=1)
    """Lambda of generalised advantage estimation (arXiv:1506.02438): 0 trusts the critic, 1 the
    sampled return."""
    epsilon: float = Field(gt=0)
    """Clip range of the ratio of new to old policy."""
    value_epsilon: float | None = Field(gt=0)
    """Clip range of the critic's values around those at sampling, in units of the reward; null
    leaves them."""
    value_coefficient: float = Field(ge=0)
    """Weight of the critic's loss beside the policy's."""
    entropy_coefficient: float = Field(ge=0)
    """Weight of the policy's entropy as a bonus."""
    whiten_advantages: bool
    """Scale advantages to mean 0 and variance 1 over the tokens of a batch."""
    missing_end_penalty: float = Field(ge=0)
    """Taken from the reward of an answer that was cut at the length limit."""
    mask_truncated_completions: bool
    """Neither policy nor critic learns from answers without an end token (DAPO,
    arXiv:2503.14476)."""
    epochs: int = Field(gt=0)
    """Passes over each batch of answers."""
    minibatches: int = Field(gt=0)
    """Optimizer updates a pass; each sees as large a part of the batch."""
    critic_learning_rate: float = Field(gt=0)
    """Peak learning rate of the critic's head, which starts from nothing. A separate body has
    `algo.learning_rate`."""


class ReinforceConfig(ReferenceConfig):
    """What `rlexp.trainers.reinforce` can be told of the algorithm itself."""

    beta: float = Field(ge=0)
    """KL coefficient: what a nat of drift from the reference costs, in units of the reward. 0
    loads no reference, and nothing keeps the model writing well."""
    baseline: Baseline
    """What an answer's return is compared with: nothing, the mean of earlier batches, or the mean
    of the other answers to its prompt (arXiv:2402.14740)."""
    baseline_decay: float = Field(ge=0, lt=1)
    """Weight of the past in the moving average, a step."""
    mask_truncated_completions: bool
    """Leave completions without an end token out of the loss (DAPO, arXiv:2503.14476); they stay in
    the baseline."""
