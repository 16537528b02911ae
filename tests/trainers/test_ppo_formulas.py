"""Each formula of policy-gradient training against a slow loop over plain floats."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rlexp.trainers.advantages import (
    explained_variance,
    generalized_advantages,
    kl_per_token,
    last_token,
    masked_mean,
    token_rewards,
    whiten,
)
from rlexp.trainers.ppo import adapt_kl_coefficient, policy_losses, value_losses

LENGTHS = [4, 1, 6, 2]
"""Among them an answer that is a single token, and one that fills the batch."""


def draw(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LENGTHS), max(LENGTHS), generator=generator, dtype=torch.float64)


MASK = torch.tensor([[float(t < n) for t in range(max(LENGTHS))] for n in LENGTHS]).double()
TOKENS = [(i, t) for i, length in enumerate(LENGTHS) for t in range(length)]


def over_tokens(values: dict[tuple[int, int], float]) -> Tensor:
    tensor = torch.zeros_like(MASK)
    for place, value in values.items():
        tensor[place] = value
    return tensor


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.7), (1.0, 1.0), (0.5, 0.0)])
def test_advantages_are_the_discounted_sum_of_errors(gamma: float, lam: float) -> None:
    """A recursion that runs over the end of an answer, or discounts once too often."""
    rewards, values = draw(0), draw(1)
    expected = {}
    for i, t in TOKENS:
        errors = [
            float(rewards[i, s])
            + (gamma * float(values[i, s + 1]) if s + 1 < LENGTHS[i] else 0.0)
            - float(values[i, s])
            for s in range(t, LENGTHS[i])
        ]
        expected[i, t] = sum((gamma * lam) ** k * error for k, error in enumerate(errors))
    advantages = generalized_advantages(rewards, values, MASK, gamma, lam)
    torch.testing.assert_close(advantages, over_tokens(expected), rtol=0, atol=1e-12)


def test_with_lambda_1_the_advantage_is_the_return_less_the_value() -> None:
    """The identity that ties advantages to returns."""
    rewards, values = draw(0), draw(1)
    returns = {
        (i, t): sum(0.9 ** (s - t) * float(rewards[i, s]) for s in range(t, LENGTHS[i]))
        for i, t in TOKENS
    }
    estimates = generalized_advantages(rewards, values, MASK, 0.9, 1.0) + values * MASK
    torch.testing.assert_close(estimates, over_tokens(returns), rtol=0, atol=1e-12)


def test_what_stands_in_the_padding_does_not_matter() -> None:
    """A formula that reads behind the end of an answer."""
    rewards, values, other = draw(0), draw(1), 1e3 * draw(2) * (1 - MASK)
    for formula in (
        lambda r, v: generalized_advantages(r, v, MASK, 0.9, 0.8),
        lambda r, v: whiten(v, MASK),
        lambda r, v: masked_mean(v, MASK),
        lambda r, v: explained_variance(v, r, MASK),
        lambda r, v: token_rewards(r[:, 0], v, MASK, 0.1),
    ):
        assert torch.equal(formula(rewards, values), formula(rewards + other, values + other))


def test_whitening_has_mean_0_and_variance_1_over_the_tokens() -> None:
    """Statistics that count the padding."""
    flat = [float(draw(0)[place]) for place in TOKENS]
    mean = sum(flat) / len(flat)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in flat) / len(flat) + 1e-8)
    expected = {place: (float(draw(0)[place]) - mean) / deviation for place in TOKENS}
    torch.testing.assert_close(whiten(draw(0), MASK), over_tokens(expected), rtol=0, atol=1e-12)


def test_kl_estimators_are_schulmans() -> None:
    """A sign, a half, or the two distributions the wrong way round."""
    p, q = draw(0), draw(1)
    for i, t in TOKENS:
        d = float(p[i, t]) - float(q[i, t])
        expected = {"k1": d, "k2": d * d / 2, "k3": math.exp(-d) - 1 + d}
        for name, value in expected.items():
            estimate = kl_per_token(p, q, name)[i, t]  # pyright: ignore[reportArgumentType]
            assert float(estimate) == pytest.approx(value, abs=1e-12)


def test_k1_and_k3_estimate_the_kl_divergence() -> None:
    """An estimator whose mean under the policy is not the KL divergence."""
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 30, generator=generator, dtype=torch.float64).log_softmax(-1)
    exact = (p.exp() * (p - q)).sum()
    for name in ("k1", "k3"):
        mean = (p.exp() * kl_per_token(p, q, name)).sum()  # pyright: ignore[reportArgumentType]
        torch.testing.assert_close(mean, exact, rtol=0, atol=1e-12)


def test_the_score_stands_on_the_last_token() -> None:
    """A score on the end of the batch's longest answer, or on none where an answer is one token."""
    scores, kl = torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), draw(0)
    expected = {
        (i, t): -0.3 * float(kl[i, t]) + (float(scores[i]) if t == LENGTHS[i] - 1 else 0.0)
        for i, t in TOKENS
    }
    rewards = token_rewards(scores, kl, MASK, 0.3)
    torch.testing.assert_close(rewards, over_tokens(expected), rtol=0, atol=1e-12)
    assert last_token(MASK).sum(1).tolist() == [1.0] * len(LENGTHS)


@pytest.mark.parametrize("log_ratio", [-0.5, -0.1, 0.0, 0.1, 0.5])
@pytest.mark.parametrize("advantage", [-2.0, 0.0, 1.5])
def test_the_clipped_objective(log_ratio: float, advantage: float) -> None:
    """A clip of the wrong side, or a gradient where the clip should have stopped it."""
    x = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)
    loss = policy_losses(x, torch.tensor(advantage, dtype=torch.float64), 0.2)
    ratio = math.exp(log_ratio)
    limited = min(max(ratio, 0.8), 1.2)
    assert loss.item() == pytest.approx(-min(ratio * advantage, limited * advantage), abs=1e-12)
    loss.backward()
    stopped = (advantage > 0 and ratio > 1.2) or (advantage < 0 and ratio < 0.8)
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(0.0 if stopped else -advantage * ratio, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.2, None])
def test_value_losses(epsilon: float | None) -> None:
    """The smaller of the two errors, a clip around the return, a missing half."""
    values, old, returns = draw(0), draw(1), draw(2)
    losses = value_losses(values, old, returns, epsilon)
    for place in TOKENS:
        v, o, r = (float(tensor[place]) for tensor in (values, old, returns))
        errors = [(v - r) ** 2]
        if epsilon is not None:
            errors.append((min(max(v, o - epsilon), o + epsilon) - r) ** 2)
        assert float(losses[place]) == pytest.approx(max(errors) / 2, abs=1e-12)


def test_explained_variance() -> None:
    """A critic whose constant error counts as an error of variance."""
    returns = draw(0)
    assert float(explained_variance(returns, returns, MASK)) == 1.0
    assert float(explained_variance(returns + 3, returns, MASK)) == pytest.approx(1.0)
    assert float(explained_variance(torch.zeros_like(returns), returns, MASK)) == pytest.approx(0)


def test_the_kl_coefficient_moves_towards_its_target() -> None:
    """A controller of the wrong sign, or one that a single batch can throw."""
    assert adapt_kl_coefficient(
        0.1, kl=6.0, target=6.0, sequences=64, horizon=640
    ) == pytest.approx(0.1)
    assert adapt_kl_coefficient(
        0.1, kl=6.6, target=6.0, sequences=64, horizon=640
    ) == pytest.approx(0.101)
    assert adapt_kl_coefficient(
        0.1, kl=600.0, target=6.0, sequences=64, horizon=640
    ) == pytest.approx(0.102)
    assert adapt_kl_coefficient(
        0.1, kl=0.0, target=6.0, sequences=64, horizon=640
    ) == pytest.approx(0.098)
