"""Proximal policy optimisation with a critic, for language models.

A batch of prompts is answered by the policy. Each token is an action, the text before it the state;
each action costs beta times an estimate of the KL divergence from the reference, and the last one
earns the answer's reward (Ziegler et al. 2019, arXiv:1909.08593; Ouyang et al. 2022,
arXiv:2203.02155). A critic predicts what is still to come; generalised advantage estimates say how
much better an action was than that. Then, for some epochs over the batch, the policy is moved to
make good actions likelier, as far as the clipped objective of Schulman et al. 2017
(arXiv:1707.06347) lets it, and the critic learns the returns. The details follow Huang et al. 2024
(arXiv:2403.17031): advantages whitened over the tokens of the batch, value clipping, a penalty for
answers without an end, dropout off, values at the state *before* each token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from rlexp.trainers.advantages import (
    KlEstimator,
    explained_variance,
    generalized_advantages,
    kl_per_token,
    masked_mean,
    token_rewards,
    whiten,
)
from rlexp.trainers.critic import ActorCritic, trained
from rlexp.trainers.loop import OnPolicyTrainer, TrainerInputs
from rlexp.trainers.rollouts import Rollouts
from rlexp.trainers.sequences import Sequences, score_tokens


@dataclass(frozen=True)
class PpoConfig:
    """What `conf/algo/ppo.yaml` says of the algorithm itself; `rlexp.algos.ppo.Ppo` explains it."""

    beta: float
    kl_estimator: KlEstimator
    kl_target: float | None
    kl_horizon: int
    early_stop_kl: float | None
    gamma: float
    lam: float
    epsilon: float
    value_epsilon: float | None
    value_coefficient: float
    entropy_coefficient: float
    whiten_advantages: bool
    missing_end_penalty: float
    epochs: int
    minibatches: int
    critic_learning_rate: float


@dataclass(frozen=True)
class Experience:
    """What is known of n answers before the policy learns from them; each tensor (n, t)."""

    sequences: Sequences
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def policy_losses(log_ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """-min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) at each token, r = exp(log_ratio).

    Schulman et al. 2017, arXiv:1707.06347, equation 7.
    """
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def value_losses(values: Tensor, old: Tensor, returns: Tensor, epsilon: float | None) -> Tensor:
    """Half the squared error at each token: the larger of that of the new value and that of the new
    value kept within epsilon of the old one. (Engstrom et al. 2020, arXiv:2005.12729, section 3.)

    Args:
        epsilon: None leaves values unclipped.
    """
    errors = (values - returns).square()
    if epsilon is not None:
        near = old + (values - old).clamp(-epsilon, epsilon)
        errors = torch.maximum(errors, (near - returns).square())
    return errors / 2


def adapted(beta: float, kl: float, target: float, sequences: int, horizon: int) -> float:
    """The KL coefficient moved towards a KL divergence a sequence of `target` nats.

    Ziegler et al. 2019, arXiv:1909.08593, section 2.2; with their constant 0.1 a batch written as
    sequences / horizon, as in their code.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * sequences / horizon)


class PpoTrainer(OnPolicyTrainer):
    """PPO; see the module's text."""

    def __init__(self, task: TrainerInputs, knobs: PpoConfig, critic_body: Any | None) -> None:
        """
        Args:
            task: what is trained, on what and how.
            knobs: of the algorithm.
            critic_body: a transformers model without head for the critic; None shares the policy's.
        """
        self.actor_critic = ActorCritic(task.policy.model, critic_body)
        groups = [
            {"params": trained(task.policy.model), "lr": task.arguments.learning_rate},
            {"params": trained(self.actor_critic.head), "lr": knobs.critic_learning_rate},
        ]
        if critic_body is not None:
            groups.append({"params": trained(critic_body), "lr": task.arguments.learning_rate})
            if task.arguments.activation_checkpointing:
                critic_body.gradient_checkpointing_enable({"use_reentrant": False})
        super().__init__(task, self.actor_critic, groups)
        self.knobs = knobs
        self.extra_state["beta"] = knobs.beta  # moves where it is adaptive

    def learn(self, rollouts: Rollouts) -> dict[str, float]:
        experience, seen = self.look_back(rollouts)
        updates: list[dict[str, Tensor]] = []
        for minibatch in self._minibatches(len(rollouts.scores)):
            updates.append(self._learn_from(experience, minibatch))
            limit = self.knobs.early_stop_kl
            if limit is not None and updates[-1]["approx_kl"] > limit:
                break
        means = {name: fmean(each[name].item() for each in updates) for name in updates[0]}
        return {**seen, **means, "updates": len(updates)}

    def look_back(self, rollouts: Rollouts) -> tuple[Experience, dict[str, float]]:
        """Everything that is held fixed while the policy learns from its answers."""
        knobs, sequences = self.knobs, rollouts.sequences
        mask, beta = sequences.mask, self.extra_state["beta"]
        log_probs, values, entropy, reference = self._before(sequences)
        kl = kl_per_token(log_probs, reference, knobs.kl_estimator)
        scores = rollouts.scores - knobs.missing_end_penalty * ~rollouts.ended
        rewards = token_rewards(scores, kl, mask, beta)
        advantages = generalized_advantages(rewards, values, mask, knobs.gamma, knobs.lam)
        returns = advantages + values * mask
        if knobs.whiten_advantages:
            advantages = whiten(advantages, mask, self.total)
        kl_sequence = (kl * mask).sum(1).mean()
        seen = {
            "entropy": masked_mean(entropy, mask).item(),
            "value": masked_mean(values, mask).item(),
            "return": masked_mean(returns, mask).item(),
            "explained_variance": explained_variance(values, returns, mask).item(),
        }
        if self.reference is not None:
            seen["kl"] = masked_mean(kl, mask).item()
            seen["rollout/kl_sequence"] = kl_sequence.item()
            seen["kl_coefficient"] = beta
            seen["non_score_reward"] = -beta * kl_sequence.item()
        if knobs.kl_target is not None:
            count = self.total(torch.ones_like(kl_sequence))
            mean_kl = (self.total(kl_sequence) / count).item()
            batch = self.share * self.accelerator.num_processes
            self.extra_state["beta"] = adapted(
                beta, mean_kl, knobs.kl_target, batch, knobs.kl_horizon
            )
        return Experience(sequences, log_probs, values, advantages, returns), seen

    @torch.no_grad()
    def _before(self, sequences: Sequences) -> tuple[Tensor, ...]:
        """Log-probabilities, values and entropies of the policy as it sampled, and the
        log-probabilities of the reference (of the policy where none is kept); each (n, t)."""
        temperature = self.task.sampling.temperature
        found = tuple(torch.zeros_like(sequences.mask) for _ in range(4))
        for piece in sequences.pieces(torch.arange(len(sequences)), self.micro):
            some = sequences.rows(piece)
            log_probs, entropy, values = self.module(some, temperature, entropy=True)
            reference = log_probs
            if self.reference is not None:
                with self.accelerator.autocast():
                    reference = score_tokens(self.reference, some, temperature).log_probs
            for whole, part in zip(found, (log_probs, values, entropy, reference), strict=True):
                whole[piece, : part.shape[1]] = part
        return found

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        """Indices of the answers for each update: all answers once an epoch, in random order."""
        for _ in range(self.knobs.epochs):
            yield from torch.randperm(count).tensor_split(self.knobs.minibatches)

    def _learn_from(self, experience: Experience, minibatch: Tensor) -> dict[str, Tensor]:
        """One optimizer step on some of the answers."""
        mask = experience.sequences.mask[minibatch]
        tokens = self.total(mask.sum()) / self.accelerator.num_processes
        sums: dict[str, Tensor] = {}

        def loss_of(piece: Tensor) -> Tensor:
            loss, seen = self.loss(experience, piece, tokens)
            for name, value in seen.items():
                sums[name] = sums.get(name, 0) + value.detach()
            return loss

        sums["grad_norm"] = self.update(experience.sequences.pieces(minibatch, self.micro), loss_of)
        sums["approx_kl"] = self.total(sums["approx_kl"]) / self.accelerator.num_processes
        return sums

    def loss(
        self, experience: Experience, piece: Tensor, tokens: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The share of some answers in a minibatch's loss, and of what is logged about it.

        Args:
            experience: of all answers.
            piece: which answers.
            tokens: of the whole minibatch, whose mean the loss is.
        """
        knobs, sequences = self.knobs, experience.sequences.rows(piece)
        mask = sequences.mask
        with_entropy = knobs.entropy_coefficient != 0
        log_probs, entropy, values = self.module(
            sequences, self.task.sampling.temperature, entropy=with_entropy
        )

        def mean(of: Tensor) -> Tensor:
            return (of * mask).sum() / tokens

        kept = mask.shape[1]
        log_ratio = (log_probs - experience.log_probs[piece, :kept]) * mask
        advantages, old = experience.advantages[piece, :kept], experience.values[piece, :kept]
        policy_loss = mean(policy_losses(log_ratio, advantages, knobs.epsilon))
        value_loss = mean(
            value_losses(values, old, experience.returns[piece, :kept], knobs.value_epsilon)
        )
        loss = policy_loss + knobs.value_coefficient * value_loss
        if entropy is not None:
            loss = loss - knobs.entropy_coefficient * mean(entropy)
        ratio = log_ratio.detach().exp()
        return loss, {
            "loss": loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "ratio": mean(ratio),
            "approx_kl": mean(
                kl_per_token(experience.log_probs[piece, :kept], log_probs.detach(), "k3")
            ),
            "clip_fraction": mean(((ratio - 1).abs() > knobs.epsilon).float()),
        }

    def more_weights(self) -> torch.nn.Module:
        return self.actor_critic.critic()
