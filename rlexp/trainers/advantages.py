"""The formulas of policy-gradient training on tokens, as pure functions of tensors.

All tensors over tokens have the shape (n, t): n answers, t positions, padded on the right. `mask`
is 1 on the tokens of an answer, its end token included, and 0 on the padding behind it. What
stands in the padding never matters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlexp.trainers.config import KlEstimator


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens of all answers, a scalar."""
    return (values * mask).sum() / mask.sum()


def kl_per_token(log_probs: Tensor, reference: Tensor, estimator: KlEstimator) -> Tensor:
    """Return estimates of KL(policy || reference), (n, t), at each sampled token, in nats.

    With d = log pi(a) - log ref(a): k1 = d, unbiased and of either sign; k2 = d^2 / 2, biased, of
    low variance; k3 = exp(-d) - 1 + d, unbiased and never negative (Schulman 2020,
    http://joschu.net/blog/kl-approx.html). As a penalty inside the reward only k1 has the gradient
    of the KL divergence in expectation; k2 and k3 bend the optimum.
    """
    difference = log_probs - reference
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2
    return (-difference).expm1() + difference  # expm1, since exp(-d) - 1 rounds away a small d


def last_token(mask: Tensor) -> Tensor:
    """Return (n, t), 1 at each answer's last token and 0 elsewhere."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    return (positions == mask.sum(1, keepdim=True) - 1).to(mask.dtype)


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Return (n, t): the penalty beta * kl at each token, and the score, (n,), at the last one.

    Ziegler et al. 2019, arXiv:1909.08593, equation 2, spread over tokens as in Ouyang et al. 2022,
    arXiv:2203.02155.
    """
    return scores[:, None] * last_token(mask) - beta * kl * mask


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> Tensor:
    """Return generalised advantage estimates, (n, t), 0 in the padding.

    A_t = delta_t + gamma lam A_(t+1), delta_t = r_t + gamma V_(t+1) - V_t (Schulman et al. 2015,
    arXiv:1506.02438, equations 11 and 16), V_t before each token. Behind the last one of an answer
    there is nothing: V and A are 0, also for an answer cut at the length limit, since its score is
    already whole.
    """
    values, rewards = values * mask, rewards * mask
    following = advantage = torch.zeros_like(values[:, 0])  # V_(t+1), A_(t+1)
    advantages = torch.zeros_like(values)
    for position in reversed(range(values.shape[1])):
        delta = rewards[:, position] + gamma * following - values[:, position]
        advantage = (delta + gamma * lam * advantage) * mask[:, position]
        advantages[:, position] = advantage
        following = values[:, position]
    return advantages


def whiten(
    advantages: Tensor, mask: Tensor, reduce_sum: Callable[[Tensor], Tensor] = lambda share: share
) -> Tensor:
    """Return advantages with mean 0 and variance 1 over all tokens, (n, t), 0 in the padding.

    `reduce_sum` adds up a sum over all processes, so that each whitens by the same two numbers.
    """
    count = reduce_sum(mask.sum()).clamp(min=1)  # none where every answer is left out
    mean = reduce_sum((advantages * mask).sum()) / count
    centred = (advantages - mean) * mask
    variance = reduce_sum(centred.square().sum()) / count
    return centred * (variance + 1e-8).rsqrt()


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Return 1 - Var(returns - values) / Var(returns) over the tokens: 1 is a perfect critic, 0 a
    constant one, below 0 worse than that. NaN where all returns are equal.
    """

    def variance(x: Tensor) -> Tensor:
        return masked_mean((x - masked_mean(x, mask)).square(), mask)

    return 1 - variance(returns - values) / variance(returns)
