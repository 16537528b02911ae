"""PPO's loss and gradient against the papers', and proof that the comparison sees classic bugs.

Each bug below has been in a published implementation, or is one slip away from it. It is planted
into the trainer; the comparison that passes without it must then fail.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paper_ppo
import pytest
import torch
from on_policy import END, PAD, SmallPolicy, ppo_config, save_gpt2, trainer_inputs
from paper_ppo import Answer
from ppo_faults import FAULTS, Patch
from torch import Tensor

from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.rollouts import Rollouts
from rlexp.trainers.token_scores.sequences import Sequences

TEMPERATURE = 1.3
KNOBS = ppo_config(
    beta=0.3,
    gamma=0.97,
    lam=0.8,
    kl_estimator="k1",
    value_coefficient=0.7,
    epsilon=0.1,
    value_epsilon=0.05,
    missing_end_penalty=0.5,
)
ANSWERS = [
    Answer([2, 3, 4], [5, 6, END], 0.9, ended=True),
    Answer([2], [7, 3, 4, 5, 6], -0.4, ended=False),
    Answer([2, 7, 7, 5], [END], 0.3, ended=True),
    Answer([2, 6], [3, 3, 8, END], 0.1, ended=True),
]
"""Different prompts, early ends, an answer that is an end alone, and one that was cut."""


def as_rollout(answers: list[Answer]) -> Any:
    """The answers as the rollout pads them."""
    longest_prompt = max(len(answer.prompt) for answer in answers)
    longest = max(len(answer.tokens) for answer in answers)

    def padded(ids: list[int], size: int, left: bool) -> tuple[list[int], list[int]]:
        gap = size - len(ids)
        if left:
            return [PAD] * gap + ids, [0] * gap + [1] * len(ids)
        return ids + [PAD] * gap, [1] * len(ids) + [0] * gap

    prompts = [padded(answer.prompt, longest_prompt, left=True) for answer in answers]
    tokens = [padded(answer.tokens, longest, left=False) for answer in answers]
    return SimpleNamespace(
        prompt_ids=torch.tensor([ids for ids, _ in prompts]),
        prompt_mask=torch.tensor([mask for _, mask in prompts]),
        completion_ids=torch.tensor([ids for ids, _ in tokens]),
        completion_mask=torch.tensor([mask for _, mask in tokens]),
        ended=torch.tensor([answer.ended for answer in answers]),
    )


def rollouts_of(answers: list[Answer]) -> Rollouts:
    rollout = as_rollout(answers)
    scores = torch.tensor([answer.reward for answer in answers])
    return Rollouts(Sequences.from_rollout(rollout), scores, rollout.ended)


@pytest.fixture
def trainer(tmp_path: Path) -> PpoTrainer:
    """A trainer whose reference differs from its policy, and whose critic has opinions."""
    words = [f"w{index}" for index in range(6)]
    policy = SmallPolicy(save_gpt2(tmp_path, words, seed=1))
    other = SmallPolicy(save_gpt2(tmp_path / "other", words, seed=2))
    inputs = trainer_inputs(
        policy,
        lambda **called: [0.0],
        output=tmp_path / "out",
        max_new_tokens=5,
        batch=len(ANSWERS),
        temperature=TEMPERATURE,
    )
    trainer = PpoTrainer(inputs, KNOBS, None)
    trainer.reference = other.model.eval()
    torch.manual_seed(3)
    torch.nn.init.normal_(trainer.actor_critic.head.output.weight, std=0.5)
    trainer.module.eval()
    return trainer


def disturb(module: Any) -> None:
    """Move the weights, as an earlier update of the batch does, so that ratios leave 1."""
    generator = torch.Generator().manual_seed(4)
    for parameter in module.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)


def differences(trainer: PpoTrainer) -> tuple[float, float]:
    """Trainer against papers: absolute difference of losses, relative one of gradients."""
    model, head = trainer.policy.model, trainer.actor_critic.head
    twin, twin_head = paper_ppo.in_float64(model), paper_ppo.in_float64(head)
    reference = paper_ppo.in_float64(trainer.reference)
    known = paper_ppo.experience(twin, twin_head, reference, ANSWERS, KNOBS, TEMPERATURE)
    rollouts = rollouts_of(ANSWERS)
    experience, _ = trainer.compute_experience(rollouts)
    disturb(trainer.actor_critic)
    twin, twin_head = paper_ppo.in_float64(model), paper_ppo.in_float64(head)
    paper = paper_ppo.loss(twin, twin_head, ANSWERS, known, KNOBS, TEMPERATURE)
    paper.backward()
    tokens = rollouts.sequences.mask.sum()
    loss, _ = trainer.loss(experience, torch.arange(len(ANSWERS)), tokens)
    trainer.actor_critic.zero_grad()
    loss.backward()
    trainer_gradient = gradient(model, head)
    paper_gradient = gradient(twin, twin_head)
    return abs(loss.item() - paper.item()), float(
        (trainer_gradient - paper_gradient).norm() / paper_gradient.norm()
    )


def gradient(*modules: Any) -> Tensor:
    return torch.cat(
        [
            torch.zeros_like(parameter).flatten().double()
            if parameter.grad is None
            else parameter.grad.flatten().double()
            for module in modules
            for parameter in module.parameters()
        ]
    )


def test_loss_and_gradient_are_the_papers(trainer: PpoTrainer) -> None:
    """Any error in log-probabilities, KL, advantages, whitening, clipping or padding."""
    loss, grad = differences(trainer)
    assert loss < 1e-5
    assert grad < 1e-4


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_the_other_kl_estimators_too(
    trainer: PpoTrainer, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An estimator that is another one in disguise."""
    other = ppo_config(**{**vars(KNOBS), "kl_estimator": estimator})
    monkeypatch.setattr(trainer, "config", other)
    monkeypatch.setitem(globals(), "KNOBS", other)
    loss, grad = differences(trainer)
    assert loss < 5e-5  # k3 has an exponential, and processors round float32 in their own ways
    assert grad < 1e-4


@pytest.mark.parametrize("planted", FAULTS.values(), ids=FAULTS.keys())
def test_the_comparison_sees(
    planted: Patch, trainer: PpoTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison that would pass with the bug inside."""
    planted(monkeypatch)
    loss, grad = differences(trainer)
    assert loss > 1e-4 or grad > 1e-2
