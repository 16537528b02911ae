"""PPO's loss and gradient against the papers', and proof that the comparison sees classic bugs.

Each bug below has been in a published implementation, or is one slip away from it. It is planted
into the trainer; the comparison that passes without it must then fail.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paper_ppo
import pytest
import torch
from on_policy import END, PAD, SmallPolicy, knobs, save_gpt2, task
from paper_ppo import Answer
from torch import Tensor

from rlexp.trainers import critic, ppo, sequences
from rlexp.trainers import rollouts as rollouts_module
from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.rollouts import Rollouts
from rlexp.trainers.sequences import Sequences

TEMPERATURE = 1.3
KNOBS = knobs(
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
    return Rollouts(Sequences.of(rollout), scores, rollout.ended)


@pytest.fixture
def trainer(tmp_path: Path) -> PpoTrainer:
    """A trainer whose reference differs from its policy, and whose critic has opinions."""
    words = [f"w{index}" for index in range(6)]
    policy = SmallPolicy(save_gpt2(tmp_path, words, seed=1))
    other = SmallPolicy(save_gpt2(tmp_path / "other", words, seed=2))
    what = task(
        policy,
        lambda **called: [0.0],
        output=tmp_path / "out",
        max_new_tokens=5,
        batch=len(ANSWERS),
        temperature=TEMPERATURE,
    )
    trainer = PpoTrainer(what, KNOBS, None)
    trainer.reference = other.model.eval()
    torch.manual_seed(3)
    torch.nn.init.normal_(trainer.actor_critic.head.layers[-1].weight, std=0.5)  # pyright: ignore
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
    experience, _ = trainer.look_back(rollouts)
    disturb(trainer.actor_critic)
    twin, twin_head = paper_ppo.in_float64(model), paper_ppo.in_float64(head)
    paper = paper_ppo.loss(twin, twin_head, ANSWERS, known, KNOBS, TEMPERATURE)
    paper.backward()
    tokens = rollouts.sequences.mask.sum()
    loss, _ = trainer.loss(experience, torch.arange(len(ANSWERS)), tokens)
    trainer.actor_critic.zero_grad()
    loss.backward()
    ours = gradient(model, head)
    theirs = gradient(twin, twin_head)
    return abs(loss.item() - paper.item()), float((ours - theirs).norm() / theirs.norm())


def gradient(*modules: Any) -> Tensor:
    return torch.cat(
        [
            torch.zeros_like(each).flatten().double()
            if each.grad is None
            else each.grad.flatten().double()
            for module in modules
            for each in module.parameters()
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
    other = knobs(**{**vars(KNOBS), "kl_estimator": estimator})
    monkeypatch.setattr(trainer, "knobs", other)
    monkeypatch.setitem(globals(), "KNOBS", other)
    loss, grad = differences(trainer)
    assert loss < 1e-5
    assert grad < 1e-4


Patch = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, Patch] = {}


def fault(patch: Patch) -> Patch:
    FAULTS[patch.__name__] = patch
    return patch


def wrapped(patch: pytest.MonkeyPatch, owner: Any, name: str, wrapper: Any) -> None:
    """Put `wrapper(right function)` in the place of a function."""
    patch.setattr(owner, name, wrapper(getattr(owner, name)))


@fault
def kl_with_the_wrong_sign(patch: pytest.MonkeyPatch) -> None:
    wrapped(
        patch, ppo, "kl_per_token", lambda right: lambda p, q, estimator: right(q, p, estimator)
    )


@fault
def value_of_the_state_after_the_token(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        return lambda self, states: right(self, states.roll(-1, 1))

    wrapped(patch, critic.ValueHead, "forward", wrapper)


@fault
def old_log_probs_and_advantages_not_detached(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PpoTrainer, "_before", PpoTrainer._before.__wrapped__)  # pyright: ignore


@fault
def end_token_dropped(patch: pytest.MonkeyPatch) -> None:
    def of(rollout: Any) -> Sequences:
        mask = rollout.completion_mask * (rollout.completion_ids != END)
        ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
        return Sequences(ids, torch.cat([rollout.prompt_mask, mask], 1), mask.float())

    patch.setattr(Sequences, "of", of)


@fault
def whitening_over_the_padding(patch: pytest.MonkeyPatch) -> None:
    wrapped(
        patch,
        ppo,
        "whiten",
        lambda right: lambda values, mask, total: right(values, torch.ones_like(mask), total),
    )


@fault
def reward_at_the_last_column(patch: pytest.MonkeyPatch) -> None:
    def wrong(scores: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
        rewards = -beta * kl * mask
        rewards[:, -1] += scores
        return rewards

    patch.setattr(ppo, "token_rewards", wrong)


@fault
def bootstrap_from_the_padding(patch: pytest.MonkeyPatch) -> None:
    def wrong(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
        following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
        deltas = (rewards + gamma * following - values) * mask
        advantages, after = torch.zeros_like(values), torch.zeros(len(values))
        for t in reversed(range(values.shape[1])):
            advantages[:, t] = after = deltas[:, t] + gamma * lam * after
        return advantages

    patch.setattr(ppo, "generalized_advantages", wrong)


@fault
def clipped_the_optimistic_way(patch: pytest.MonkeyPatch) -> None:
    def wrong(log_ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
        return -torch.maximum(ratio * advantages, clipped * advantages)

    patch.setattr(ppo, "policy_losses", wrong)


@fault
def values_clipped_the_optimistic_way(patch: pytest.MonkeyPatch) -> None:
    def wrong(values: Tensor, old: Tensor, returns: Tensor, epsilon: float) -> Tensor:
        near = old + (values - old).clamp(-epsilon, epsilon)
        return torch.minimum((values - returns) ** 2, (near - returns) ** 2) / 2

    patch.setattr(ppo, "value_losses", wrong)


@fault
def temperature_forgotten(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        return lambda model, some, temperature, **wanted: right(model, some, 1.0, **wanted)

    wrapped(patch, critic, "judge", wrapper)
    wrapped(patch, ppo, "judge", wrapper)


@fault
def dropout_left_on(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def judged(model: Any, some: Sequences, temperature: float, **wanted: Any) -> Any:
            return right(model.train(), some, temperature, **wanted)

        return judged

    wrapped(patch, critic, "judge", wrapper)


@fault
def positions_counted_from_the_padding(patch: pytest.MonkeyPatch) -> None:
    def positions(self: Sequences) -> Tensor:
        return torch.arange(self.input_ids.shape[1]).expand_as(self.input_ids)

    patch.setattr(Sequences, "position_ids", property(positions))


@fault
def padding_attended_to(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def judged(model: Any, some: Sequences, temperature: float, **wanted: Any) -> Any:
            everything = torch.ones_like(some.attention_mask)
            return right(
                model, Sequences(some.input_ids, everything, some.mask), temperature, **wanted
            )

        return judged

    wrapped(patch, critic, "judge", wrapper)
    wrapped(patch, ppo, "judge", wrapper)


@fault
def mean_over_the_padding_too(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def loss(self: Any, experience: Any, piece: Tensor, tokens: Tensor) -> Any:
            everything = torch.tensor(float(experience.sequences.mask[piece].numel()))
            return right(self, experience, piece, everything)

        return loss

    wrapped(patch, PpoTrainer, "loss", wrapper)


@fault
def penalty_for_ending(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def look_back(self: Any, rollouts: Rollouts) -> Any:
            return right(self, Rollouts(rollouts.sequences, rollouts.scores, ~rollouts.ended))

        return look_back

    wrapped(patch, PpoTrainer, "look_back", wrapper)


@fault
def returns_from_whitened_advantages(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def estimates(*given: Any) -> Tensor:
            return ppo.whiten(right(*given), given[2])

        return estimates

    wrapped(patch, ppo, "generalized_advantages", wrapper)


@pytest.mark.parametrize("planted", FAULTS.values(), ids=FAULTS.keys())
def test_the_comparison_sees(
    planted: Patch, trainer: PpoTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison that would pass with the bug inside."""
    planted(monkeypatch)
    loss, grad = differences(trainer)
    assert loss > 1e-4 or grad > 1e-2


def test_modules_that_faults_are_planted_in_are_the_ones_in_use() -> None:
    """A fault planted beside the code would prove nothing."""
    assert ppo.judge is sequences.judge is critic.judge
    assert rollouts_module.Sequences is Sequences
