"""Classic bugs of PPO for language models, each as a patch that plants it into the trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from on_policy import END
from torch import Tensor

from rlexp.trainers import critic, ppo
from rlexp.trainers.ppo import PpoTrainer
from rlexp.trainers.rollouts import Rollouts
from rlexp.trainers.token_scores.sequences import Sequences

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
    patch.setattr(PpoTrainer, "_score_before_update", PpoTrainer._score_before_update.__wrapped__)  # pyright: ignore


@fault
def end_token_dropped(patch: pytest.MonkeyPatch) -> None:
    def from_rollout(rollout: Any) -> Sequences:
        mask = rollout.completion_mask * (rollout.completion_ids != END)
        ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
        return Sequences(ids, torch.cat([rollout.prompt_mask, mask], 1), mask.float())

    patch.setattr(Sequences, "from_rollout", from_rollout)


@fault
def whitening_over_the_padding(patch: pytest.MonkeyPatch) -> None:
    wrapped(
        patch,
        ppo,
        "whiten",
        lambda right: lambda values, mask, reduce: right(values, torch.ones_like(mask), reduce),
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
        return lambda model, sequences, temperature, *head, **wanted: right(
            model, sequences, 1.0, *head, **wanted
        )

    wrapped(patch, critic, "score_tokens", wrapper)
    wrapped(patch, ppo, "score_tokens", wrapper)


@fault
def dropout_left_on(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def judged(model: Any, *arguments: Any, **wanted: Any) -> Any:
            return right(model.train(), *arguments, **wanted)

        return judged

    wrapped(patch, critic, "score_tokens", wrapper)


@fault
def positions_counted_from_the_padding(patch: pytest.MonkeyPatch) -> None:
    def positions(self: Sequences) -> Tensor:
        return torch.arange(self.input_ids.shape[1]).expand_as(self.input_ids)

    patch.setattr(Sequences, "position_ids", property(positions))


@fault
def padding_attended_to(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def judged(model: Any, sequences: Sequences, *arguments: Any, **wanted: Any) -> Any:
            everything = torch.ones_like(sequences.attention_mask)
            attended = Sequences(sequences.input_ids, everything, sequences.mask)
            return right(model, attended, *arguments, **wanted)

        return judged

    wrapped(patch, critic, "score_tokens", wrapper)
    wrapped(patch, ppo, "score_tokens", wrapper)


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
        def compute_experience(self: Any, rollouts: Rollouts) -> Any:
            return right(self, Rollouts(rollouts.sequences, rollouts.scores, ~rollouts.ended))

        return compute_experience

    wrapped(patch, PpoTrainer, "compute_experience", wrapper)


@fault
def returns_from_whitened_advantages(patch: pytest.MonkeyPatch) -> None:
    def wrapper(right: Any) -> Any:
        def estimates(*given: Any) -> Tensor:
            return ppo.whiten(right(*given), given[2])

        return estimates

    wrapped(patch, ppo, "generalized_advantages", wrapper)
