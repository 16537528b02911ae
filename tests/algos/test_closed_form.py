"""TRL's algorithms, built as runs build them, against optima that are known in closed form.

The task is a bandit: one prompt, one token of answer, eight arms with the rewards `ARMS`. The
policy that maximises reward - beta * KL(policy || reference) is reference * exp(reward / beta) up
to a constant (Ziegler et al. 2019, arXiv:1909.08593, section 2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bandit import (
    ARMS,
    ONE_TOKEN,
    REWARDS,
    ArmReward,
    bandit_spec,
    joint_log_probs,
    kl,
    log_probs,
    reference,
    save_bandit,
    trained,
)
from torch import Tensor

from rlexp.spec.reward import Text


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bandit(tmp_path_factory.mktemp("bandit"), seed=0)


def reverse_kl_optimum(ref: Tensor, beta: float) -> Tensor:
    return (ref + REWARDS / beta).log_softmax(-1)


def forward_kl_optimum(ref: Tensor, beta: float) -> Tensor:
    """beta * reference / (level - reward): the maximum of reward - beta * KL(reference || policy).

    The level, above every reward, is where the probabilities sum to one; found by bisection.
    """
    low, high = float(REWARDS.max()) + 1e-9, float(REWARDS.max()) + 1e3
    for _ in range(200):
        level = (low + high) / 2
        total = float((beta * ref.exp() / (level - REWARDS)).sum())
        low, high = (level, high) if total > 1 else (low, level)
    return (beta * ref.exp() / (low - REWARDS)).log()


@pytest.mark.parametrize("beta", [0.1, pytest.param(0.3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("algo", ["grpo", "rloo"])
@pytest.mark.long
def test_policy_gradient_finds_the_optimum(
    algo: str, beta: float, bandit: Path, tmp_path: Path
) -> None:
    """A KL term of the wrong sign, weight or direction; rewards or advantages that are scaled; a
    reference that is not the model the training began with."""
    spec = bandit_spec(
        bandit,
        f"algo={algo} algo.beta={beta} algo.num_generations=64 {ONE_TOKEN} "
        "algo.learning_rate=5e-3 train.max_steps=150",
    )
    ref = log_probs(reference(bandit))
    optimum = reverse_kl_optimum(ref, beta)
    assert kl(ref, optimum) > 0.2
    policy = log_probs(trained(spec, [{"prompt": "p"}] * 64, tmp_path))
    assert kl(policy, optimum) <= 0.02


@pytest.mark.long
def test_without_its_correction_grpo_penalises_the_forward_kl(bandit: Path, tmp_path: Path) -> None:
    """A `algo.trl` that does not arrive; and a change of TRL's penalty, whose gradient is that of
    KL(reference || policy) unless the importance weight is in it."""
    spec = bandit_spec(
        bandit,
        f"algo=grpo algo.beta=0.3 algo.num_generations=64 {ONE_TOKEN} algo.learning_rate=5e-3 "
        "train.max_steps=150 algo.kl_importance_weights=false",
    )
    ref = log_probs(reference(bandit))
    policy = log_probs(trained(spec, [{"prompt": "p"}] * 64, tmp_path))
    assert kl(policy, forward_kl_optimum(ref, 0.3)) <= 0.02
    assert kl(policy, reverse_kl_optimum(ref, 0.3)) > 0.05


def drawn_pairs(arms: Tensor, count: int, sharpness: float = 1.0) -> list[dict[str, Any]]:
    """Two different arms drawn with these weights, ordered by Bradley-Terry with their rewards
    times the sharpness."""
    random = torch.Generator().manual_seed(0)
    first, second = (
        torch.multinomial(arms, 2 * count, replacement=True, generator=random) for _ in range(2)
    )
    rewards = torch.tensor(ARMS)
    first_wins = torch.rand(2 * count, generator=random) < torch.sigmoid(
        sharpness * (rewards[first] - rewards[second])
    )
    answers = [
        (f" a{a}", f" a{b}") if wins else (f" a{b}", f" a{a}")
        for a, b, wins in zip(first.tolist(), second.tolist(), first_wins.tolist(), strict=True)
        if a != b
    ]
    return [{"prompt": "p", "chosen": good, "rejected": bad} for good, bad in answers[:count]]


@pytest.mark.long
def test_dpo_finds_the_optimum(bandit: Path, tmp_path: Path) -> None:
    """A loss in which chosen and rejected, or policy and reference, are swapped, or the end token
    is left out of one. (The optimum is that of the joint probability: DPO says nothing of what
    stands between arm and end token.)"""
    spec = bandit_spec(
        bandit,
        "algo=dpo algo.beta=0.3 algo.loss_type=[sigmoid] algo.learning_rate=3e-3 "
        "train.max_steps=200",
    )
    ref = joint_log_probs(reference(bandit))
    optimum = (ref + torch.tensor(ARMS, dtype=torch.float64) / 0.3).log_softmax(-1)
    assert kl(ref, optimum) > 0.2
    policy = joint_log_probs(trained(spec, drawn_pairs(ref.exp().float(), 5000), tmp_path))
    assert kl(policy, optimum) <= 0.03


class JudgedArm(ArmReward):
    """The arm's reward with Gumbel noise: of two, a is above b with probability
    sigmoid(a - b) (McFadden 1974), so that a judge by comparison follows Bradley-Terry."""

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        rewards = torch.tensor(super().__call__(prompts, completions))
        noise = -torch.empty_like(rewards).exponential_().log()
        return (rewards + noise).tolist()


@pytest.mark.long
def test_online_dpo_finds_the_optimum(bandit: Path, tmp_path: Path) -> None:
    """A judge whose verdict is turned round; pairs whose halves slip against each other."""
    spec = bandit_spec(
        bandit,
        f"algo=online_dpo algo.beta=0.3 {ONE_TOKEN} algo.learning_rate=3e-3 train.max_steps=150",
    )
    spec = spec.model_copy(update={"reward": JudgedArm(name="arm")})
    ref = log_probs(reference(bandit))
    optimum = reverse_kl_optimum(ref, 0.3)
    policy = log_probs(trained(spec, [{"prompt": "p"}] * 64, tmp_path))
    assert kl(policy, optimum) <= 0.03


def labelled_arms(weights: Tensor, count: int) -> list[dict[str, Any]]:
    """Arms drawn with these weights, each labelled good with a probability that is its reward."""
    random = torch.Generator().manual_seed(0)
    arms = torch.multinomial(weights, count, replacement=True, generator=random)
    good = torch.rand(count, generator=random) < torch.tensor(ARMS)[arms]
    return [
        {"prompt": "p", "completion": f" a{arm}", "label": label}
        for arm, label in zip(arms.tolist(), good.tolist(), strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["kto", "orpo", "cpo"])
def test_better_arms_end_higher(algo: str, bandit: Path, tmp_path: Path) -> None:
    """Labels or pairs that are read the wrong way round. (These losses have no optimum that can be
    written down.)"""
    spec = bandit_spec(bandit, f"algo={algo} algo.learning_rate=5e-3 train.max_steps=80")
    evenly = torch.ones(len(ARMS))
    rows = labelled_arms(evenly, 4000) if algo == "kto" else drawn_pairs(evenly, 4000, 5.0)
    assert not good_above_bad(joint_log_probs(reference(bandit)))
    assert good_above_bad(joint_log_probs(trained(spec, rows, tmp_path)))


def good_above_bad(arms: Tensor) -> bool:
    """Whether each arm that pays more than a half is likelier than each that pays less."""
    paid = torch.tensor(ARMS)
    return bool(arms[paid > 0.5].min() > arms[paid < 0.5].max())


@pytest.mark.parametrize(
    "divergence", [*(pytest.param(share, marks=pytest.mark.long) for share in (0.0, 0.5)), 1.0]
)
def test_distillation_finds_the_teacher(divergence: float, bandit: Path, tmp_path: Path) -> None:
    """Policy and teacher exchanged, the wrong one trained, or one token's distribution compared
    with the next one's. (Every divergence has its minimum where the two are equal.)"""
    teacher = save_bandit(tmp_path / "teacher", seed=1)
    spec = bandit_spec(
        bandit,
        f"algo=distill algo.teacher={teacher} algo.divergence={divergence} {ONE_TOKEN} "
        "algo.learning_rate=5e-3 train.max_steps=60",
    )
    optimum = log_probs(reference(teacher))
    assert kl(log_probs(reference(bandit)), optimum) > 0.5
    policy = log_probs(trained(spec, [{"prompt": "p"}] * 64, tmp_path / "run"))
    assert kl(policy, optimum) <= 0.02
