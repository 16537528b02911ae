"""The KL divergence of GRPO and RLOO in the reward or in the loss, and RLOO's loss itself."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers.drawn_answers import (
    LENGTHS,
    Drawn,
    check,
    slow,
    value_and_gradient,
)
from trainers.slow_losses import (
    ESTIMATORS,
    Answer,
    clipped,
    mean_of_tokens,
)

REWARDS = [0.4, 1.0, -0.2, 0.1]


def returns(drawn: Drawn, estimator: str, beta: float) -> list[float]:
    """Each reward minus beta times the divergence of the whole answer, as it was sampled."""
    costs = []
    for old, reference, n in zip(drawn.old, drawn.reference, LENGTHS, strict=True):
        answer = Answer(old[:n].double(), [], reference[:n].tolist(), [])
        costs.append(sum(float(ESTIMATORS[estimator](answer, t)) for t in range(n)))
    return [reward - beta * cost for reward, cost in zip(REWARDS, costs, strict=True)]


def test_grpos_kl_in_the_reward(built: Any) -> None:
    """A divergence of tokens, of the scaled advantage, or once more in the loss."""
    drawn = Drawn()
    trainer = built("algo=grpo algo.beta=0.3 algo.num_iterations=2 algo.kl_in=reward")
    trainer.rewards = torch.tensor(REWARDS)
    left = returns(drawn, "k3", 0.3)
    wanted = [value - statistics.fmean(left) for value in left]
    got = trainer._penalised_advantages(drawn.batch())
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)
    loss = slow(drawn, mean_of_tokens, (1, clipped(0.2, 0.2)))
    check(value_and_gradient(trainer, drawn, drawn.batch()), loss)


@pytest.mark.parametrize(("place", "beta"), [("reward", 0.3), ("loss", 0.0)])
def test_rloos_kl_in_the_reward_or_not(place: str, beta: float, built: Any) -> None:
    """TRL's k1 in the reward as well; a baseline with the answer itself in it."""
    drawn = Drawn()
    knobs = "algo.kl_estimator=k2 algo.kl_importance_weights=false"
    trainer = built(f"algo=rloo algo.beta=0.3 algo.kl_in={place} {knobs}")
    trainer.rewards = torch.tensor(REWARDS)
    left = returns(drawn, "k2", beta)
    wanted = [value - (sum(left) - value) / 3 for value in left]
    got = trainer._own_advantages(drawn.batch())
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def rloo_loss(drawn: Drawn, estimator: str | None, weights: bool) -> tuple[float, Tensor]:
    """PPO's clip on whole answers (arXiv:2402.14740), and the mean of their divergences."""
    leaf, answers = drawn.answers()
    losses = []
    for answer in answers:
        ratio = sum(answer.new[t] - answer.old[t] for t in answer.tokens).exp()  # pyright: ignore
        advantage = answer.advantages[0]
        loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        if estimator:
            kl = sum(ESTIMATORS[estimator](answer, t) for t in answer.tokens)
            loss = loss + 0.3 * kl * (ratio if weights else 1)
        losses.append(loss)
    total = torch.stack(losses).mean()
    total.backward()
    assert leaf.grad is not None
    return total.item(), leaf.grad


@pytest.mark.parametrize(
    ("words", "estimator", "weights"),
    [
        ("", None, False),
        ("algo.kl_in=loss", "k1", True),
        ("algo.kl_in=loss algo.kl_estimator=k2 algo.kl_importance_weights=false", "k2", False),
        ("algo.kl_in=loss algo.kl_estimator=k3", "k3", True),
        ("algo.kl_in=reward algo.kl_estimator=k2", None, False),
    ],
)
def test_rloo_is_its_papers(words: str, estimator: str | None, weights: bool, built: Any) -> None:
    """A ratio of tokens; a divergence both in the reward and in the loss."""
    drawn = Drawn(spread=0.15)
    trainer = built(f"algo=rloo algo.beta=0.3 {words}")
    got = value_and_gradient(trainer, drawn, drawn.batch())
    check(got, rloo_loss(drawn, estimator, weights))
