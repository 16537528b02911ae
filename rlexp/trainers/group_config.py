"""The knobs of GRPO's losses, each declared here and nowhere else; defaults stand in yaml.

`rlexp.algos.grpo.Grpo` is a `GrpoLossConfig` and is handed to its trainer as one. No torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlexp.spec.algo import TrlField
from rlexp.trainers.config import KlConfig

GrpoLoss = Literal[
    "grpo",  # mean over an answer's tokens, then over answers: favours short answers
    "dapo",  # mean over all tokens of the batch, arXiv:2503.14476
    "dr_grpo",  # sum over tokens divided by a constant length, arXiv:2503.20783
    "bnpo",  # mean over the tokens of a micro-batch
    "cispo",  # clipped importance weights, arXiv:2506.13585
    "sapo",  # soft adaptive clipping, arXiv:2511.20347
    "luspo",  # length-unbiased sequence weights, arXiv:2602.05261
    "vespo",  # variational sequence-level weights, arXiv:2602.10693
]
EntropyControl = Literal["none", "clip_cov", "kl_cov"]
TrustRegion = Literal["ratio", "tv", "kl"]


class GrpoLossConfig(KlConfig):
    """What a token's loss is made of."""

    loss_type: Annotated[GrpoLoss, TrlField()]
    """How token losses are averaged and ratios bounded; papers beside the names in the source."""
    importance_sampling_level: Annotated[Literal["token", "sequence"] | None, TrlField()]
    """Of what the ratio of new to old policy is taken: each token, or the answer, as the geometric
    mean over its tokens (GSPO, arXiv:2507.18071, with `loss_type=grpo`); null: what the loss is
    defined for."""
    epsilon: Annotated[float, TrlField()] = Field(gt=0)
    """Clip range of the ratio of new to old policy."""
    epsilon_high: Annotated[float | None, TrlField()] = Field(gt=0)
    """Upper clip range; null takes `epsilon` (DAPO takes 0.28). With `cispo` it is the largest
    importance weight itself, and null takes 5."""
    delta: Annotated[float | None, TrlField()] = Field(gt=1)
    """Largest ratio where the advantage is negative, which the clip leaves unbounded (two-sided
    clipping, arXiv:2505.07291); null: none."""
    trust_region: TrustRegion
    """What keeps the policy near the one that sampled. `ratio`: the clip. `tv`, `kl`: a token is
    left out once the total variation or KL divergence of its probability is above
    `trust_region_size`, and never clipped (DPPO, arXiv:2602.04879)."""
    trust_region_size: float = Field(gt=0)
    """Divergence at a token that `tv` and `kl` allow; the paper's authors take 0.15 and 0.05."""
    off_policy_mask_threshold: Annotated[float | None, TrlField()] = Field(gt=0)
    """Leave out answers with a negative advantage whose mean KL divergence of the policy that
    sampled from the new one is above this, in nats a token (DeepSeek-V3.2, arXiv:2512.02556)."""
    entropy_coefficient: Annotated[float, TrlField("entropy_coef")] = Field(ge=0)
    """Weight of the mean entropy of a token as a bonus."""
    entropy_target: float | None = Field(gt=0)
    """Entropy in nats a token below which the bonus counts and its weight grows by 0.005 a step
    (Skywork-OR1, arXiv:2505.22312); null keeps `entropy_coefficient`."""
    top_entropy_quantile: Annotated[float, TrlField()] = Field(gt=0, le=1)
    """Share of the tokens that is learnt from, those of the highest entropy (arXiv:2506.01939
    takes 0.2)."""
    entropy_control: EntropyControl
    """What is done about tokens on whose covariance of log-probability and advantage the entropy is
    lost (arXiv:2505.22617). `clip_cov`: some are left out. `kl_cov`: the largest are held to the
    policy that sampled."""
    cov_share: float | None = Field(gt=0, le=1)
    """Share of the tokens that this is done to, at least one; null takes the paper's: 0.0002 for
    `clip_cov`, 0.002 for `kl_cov`."""
    clip_cov_low: float
    """Least covariance at which `clip_cov` leaves a token out, in nats times the advantage."""
    clip_cov_high: float
    """Largest such covariance."""
    kl_cov_coefficient: float = Field(gt=0)
    """Weight of `kl_cov`'s penalty, the distance of a token's log-probability from the old one."""
