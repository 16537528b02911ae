"""Advantages, covariances and trust regions against loops in float64, and where they end up."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import Tensor

from rlexp.trainers.advantages import kl_per_token
from rlexp.trainers.config import KlConfig
from rlexp.trainers.group_policy import kl_in_loss
from rlexp.trainers.token_control import (
    LEAST_DEVIATION,
    clip_cov_tokens,
    covariances,
    group_advantages,
    kl_cov_tokens,
    leave_one_out_advantages,
    outside_trust_region,
)

REWARDS = [0.3, -1.0, 2.0, 0.5, 0.5, 0.5, 1.0, 4.0, -2.0]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_group_advantages(scale: str) -> None:
    """A deviation of the others, or of the population; groups cut across."""
    wanted = []
    for start in (0, 3, 6):
        group = REWARDS[start : start + 3]
        deviation = {"group": statistics.stdev(group), "batch": statistics.stdev(REWARDS)}
        over = deviation[scale] + LEAST_DEVIATION if scale != "none" else 1
        wanted += [(reward - statistics.fmean(group)) / over for reward in group]
    got = group_advantages(torch.tensor(REWARDS), 3, scale)
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_leave_one_out_advantages(normalize: bool) -> None:
    """A baseline with the answer itself in it."""
    wanted = []
    for place, reward in enumerate(REWARDS):
        start = place // 3 * 3
        others = [REWARDS[i] for i in range(start, start + 3) if i != place]
        wanted.append(reward - statistics.fmean(others))
    if normalize:
        over = statistics.stdev(wanted) + LEAST_DEVIATION
        wanted = [(value - statistics.fmean(wanted)) / over for value in wanted]
    got = leave_one_out_advantages(torch.tensor(REWARDS), 3, normalize)
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def test_a_reward_that_is_missing_is_in_no_mean() -> None:
    """A NaN that spreads over its group, or counts as 0."""
    rewards = torch.tensor([1.0, math.nan, 3.0, 5.0, 5.0, 5.0])
    for got in (group_advantages(rewards, 3, "none"), group_advantages(rewards, 3, "batch")):
        assert got[1] == 0 and got[0] == -got[2] < 0
    assert group_advantages(rewards, 3, "none").tolist() == [-1, 0, 1, 0, 0, 0]
    assert leave_one_out_advantages(rewards, 3, False).tolist() == [-2, 0, 2, 0, 0, 0]


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
LOG_PROBS = torch.tensor(
    [[-0.1, -2.0, -3.0, -0.5], [-1.0, -6.0, 99.0, 99.0], [-0.2, -4.0, -0.3, 99.0]]
)
ADVANTAGES = torch.tensor([[2.0], [-3.0], [0.5]]).expand(3, 4)


def listed(values: Tensor) -> list[float]:
    return values[MASK.bool()].double().tolist()


def test_covariances() -> None:
    """Means over the padding, or of each answer by itself."""
    likely, good = listed(LOG_PROBS), listed(ADVANTAGES)
    means = statistics.fmean(likely), statistics.fmean(good)
    wanted = [(p - means[0]) * (a - means[1]) for p, a in zip(likely, good, strict=True)]
    got = covariances(LOG_PROBS, ADVANTAGES, MASK)
    torch.testing.assert_close(
        got[MASK.bool()], torch.tensor(wanted, dtype=got.dtype), rtol=1e-5, atol=1e-5
    )
    assert (got[MASK == 0] == 0).all()
    assert sum(wanted) / 9 == pytest.approx(statistics.covariance(likely, good) * 8 / 9)


def test_kl_cov_holds_the_largest() -> None:
    """The smallest, the padding, or none where the share is less than a token."""
    covariance = covariances(LOG_PROBS, ADVANTAGES, MASK)
    ranked = sorted(listed(covariance), reverse=True)
    for share, count in ((1e-4, 1), (0.34, 3), (1.0, 9)):
        chosen = kl_cov_tokens(covariance, MASK, share)
        assert sorted(covariance[chosen].tolist(), reverse=True) == pytest.approx(ranked[:count])
        assert not (chosen & (MASK == 0)).any()


def test_clip_cov_draws_within_its_bounds() -> None:
    """Tokens beyond the bounds, or that the clip has out already; more than the share."""
    covariance = torch.tensor([[0.5, 2.0, 3.0, 9.0], [4.0, 0.0, 3.0, 3.0], [1.5, 2.5, -3.0, 3.0]])
    free = MASK.bool().clone()
    free[0, 1] = False
    for share, count in ((1e-4, 1), (0.23, 2), (1.0, 4)):
        drawn = clip_cov_tokens(covariance, MASK, free, share, 1.0, 5.0)
        assert int(drawn.sum()) == count
        assert (free & (covariance > 1) & (covariance < 5))[drawn].all()
    torch.manual_seed(0)
    rounds = {
        tuple(clip_cov_tokens(covariance, MASK, free, 0.1, 1, 5).flatten().tolist())
        for _ in range(40)
    }
    assert len(rounds) == 4  # each of them by chance
    assert not clip_cov_tokens(covariance, MASK, free, 0.5, 20, 30).any()


@pytest.mark.parametrize("region", ["tv", "kl"])
def test_the_trust_region_is_of_probabilities(region: str) -> None:
    """A ratio in the place of a divergence, or its two arguments exchanged; tokens held that would
    move back into it."""
    pairs = [(0.001, 0.1), (0.5, 0.9), (0.9, 0.5), (0.1, 0.001), (0.4, 0.41), (1.0, 0.6)]
    size = 0.15 if region == "tv" else 0.05
    for q, p in pairs:  # sampled, now
        if region == "tv":
            divergence = abs(p - q)
        else:
            other = 0 if q == 1 else (1 - q) * math.log((1 - q) / (1 - p))
            divergence = q * math.log(q / p) + other
        for advantage in (1.0, -1.0):
            outwards = (p > q) == (advantage > 0)
            tensors = (torch.tensor([[math.log(p)]]), torch.tensor([[math.log(q)]]))
            got = outside_trust_region(*tensors, torch.tensor([[advantage]]), region, size)  # pyright: ignore
            assert bool(got) == (outwards and divergence > size), (q, p, advantage)


def kl_knobs(estimator: str, weights: bool) -> KlConfig:
    values = {"kl_estimator": estimator, "kl_in": "loss", "kl_importance_weights": weights}
    return KlConfig(beta=1, sync_reference=None, sync_reference_mix=1, **values)  # pyright: ignore


@pytest.mark.parametrize(
    ("estimator", "weights", "gradient"),
    [
        ("k1", True, "reverse"),
        ("k2", False, "reverse"),
        ("k3", True, "reverse"),
        ("k3", False, "forward"),
        ("k1", False, "none"),
        ("k1", None, "reverse"),  # in the reward
    ],
)
def test_the_gradient_that_a_kl_term_has_in_the_mean(
    estimator: str, weights: bool | None, gradient: str
) -> None:
    """What the knobs' documentation says of each estimator, over all tokens that there are."""
    torch.manual_seed(0)
    logits = torch.randn(11, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(11, dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)
    sampled = policy.detach().exp()
    if weights is None:
        cost = kl_per_token(policy.detach(), reference, "k1")
        estimate = (sampled * cost * policy).sum()
    else:
        knobs = kl_knobs(estimator, weights)
        estimate = (sampled * kl_in_loss(policy, reference, policy - policy.detach(), knobs)).sum()
    reverse = (policy.exp() * (policy - reference)).sum()
    forward = (reference.exp() * (reference - policy)).sum()
    true = {"reverse": reverse, "forward": forward, "none": 0 * reverse}[gradient]
    got, wanted = (torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (estimate, true))
    torch.testing.assert_close(got, wanted)
