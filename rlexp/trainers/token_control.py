"""Which tokens a group-relative policy gradient learns from, and how: pure functions of tensors.

All tensors over tokens have the shape (n, t): n answers, t positions, padded on the right; `mask`
is 1 on the tokens that count. Log-probabilities are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlexp.trainers.group_config import TrustRegion

LEAST_DEVIATION = 1e-4
"""What TRL adds to the deviation that advantages are divided by."""
CLIP_COV_SHARE, KL_COV_SHARE = 2e-4, 2e-3
"""Of the paper, for models of 7B (Cui et al. 2025, arXiv:2505.22617, section 4.3)."""


def group_advantages(rewards: Tensor, answers: int, scale: str) -> Tensor:
    """Return (n,): each reward minus its group's mean, over a standard deviation where asked for.

    Shao et al. 2024, arXiv:2402.03300, section 4.1.2; the deviation is that of the `group`, of the
    `batch` or `none`. Groups of `answers` stand one after another; a reward that is not a number is
    left out of its group, and its advantage is 0.
    """
    groups = rewards.view(-1, answers)
    centred = groups - groups.nanmean(1, keepdim=True)
    if scale == "group":
        squares, known = centred.square().nansum(1, keepdim=True), (~groups.isnan()).sum(1)[:, None]
        centred = centred / ((squares / (known - 1)).sqrt() + LEAST_DEVIATION)
    elif scale == "batch":
        known = rewards[~rewards.isnan()]
        centred = centred / (known.std() + LEAST_DEVIATION)
    return centred.flatten().nan_to_num(0.0)


def leave_one_out_advantages(rewards: Tensor, answers: int, normalize: bool) -> Tensor:
    """Return (n,): each reward minus the mean of the others of its group.

    Ahmadian et al. 2024, arXiv:2402.14740, equation 7; `normalize` gives them mean 0 and deviation
    1 over the batch. A reward that is not a number is left out, and its advantage is 0.
    """
    groups = rewards.view(-1, answers)
    known = (~groups.isnan()).sum(1, keepdim=True)
    others = (groups.nansum(1, keepdim=True) - groups) / (known - 1)
    advantages = (groups - others).flatten()
    if normalize:
        finite = advantages[advantages.isfinite()]
        advantages = (advantages - finite.mean()) / (finite.std() + LEAST_DEVIATION)
    return advantages.nan_to_num(0.0)


def covariances(log_probs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return (n, t): what each token adds to the covariance of log-probability and advantage.

    Cui et al. 2025, arXiv:2505.22617, equation 9; 0 in the padding. The entropy falls by a step as
    far as this is positive.
    """
    tokens = mask.sum().clamp(min=1)
    likely = log_probs - (log_probs * mask).sum() / tokens
    good = advantages - (advantages * mask).sum() / tokens
    return likely * good * mask


def clip_cov_tokens(
    covariance: Tensor, mask: Tensor, free: Tensor, share: float, low: float, high: float
) -> Tensor:
    """Return (n, t) bool: some of the `free` tokens whose covariance is between low and high.

    Cui et al. 2025, arXiv:2505.22617, equation 10. As many as the share of all tokens, one at
    least, where there are that many; drawn from torch's global random state.
    """
    candidates = ((covariance > low) & (covariance < high) & free).flatten().nonzero()[:, 0]
    drawn = torch.randperm(len(candidates))[: _count(mask, share)].to(candidates.device)
    return _at(candidates[drawn], mask)


def kl_cov_tokens(covariance: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return (n, t) bool: the tokens with the largest covariance, as many as the share of all.

    Cui et al. 2025, arXiv:2505.22617, equation 12; one at least.
    """
    ranked = covariance.masked_fill(~mask.bool(), -torch.inf).flatten()
    count = min(_count(mask, share), int(mask.sum()))
    return _at(ranked.topk(count).indices, mask)


def outside_trust_region(
    log_probs: Tensor, old: Tensor, advantages: Tensor, region: TrustRegion, size: float
) -> Tensor:
    """Return (n, t) bool: tokens that have left the trust region, and would be moved on outwards.

    The divergence is that of two Bernoulli distributions, the token or any other: |p - q| or
    KL(q || p), q the old probability (DPPO, Qi et al. 2026, arXiv:2602.04879, section 4).
    """
    p, q = log_probs.exp(), old.exp()
    if region == "tv":
        divergence = (p - q).abs()
    else:
        least = torch.finfo(p.dtype).tiny
        others = (1 - q) * ((1 - q).clamp(min=least).log() - (1 - p).clamp(min=least).log())
        divergence = q * (old - log_probs) + others
    outwards = (log_probs - old) * advantages > 0
    return outwards & (divergence > size)


def _count(mask: Tensor, share: float) -> int:
    return max(1, int(share * int(mask.sum())))


def _at(places: Tensor, mask: Tensor) -> Tensor:
    """Return a mask of these places of the flattened tokens."""
    chosen = torch.zeros(mask.numel(), dtype=torch.bool, device=mask.device)
    chosen[places] = True
    return chosen.view(mask.shape)
