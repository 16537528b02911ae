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
    explained_variance,
    generalized_advantages,
    kl_per_token,
    masked_mean,
    token_rewards,
    whiten,
)
from rlexp.trainers.config import PpoConfig
from rlexp.trainers.critic import ActorCritic, trainable_parameters
from rlexp.trainers.loop import OnPolicyTrainer
from rlexp.trainers.rollouts import Rollouts, TrainerInputs
from rlexp.trainers.token_scores.sequences import Sequences, score_tokens


@dataclass(frozen=True)
class Experience:
    """What is held fixed of n answers while the policy learns from them."""

    sequences: Sequences
    log_probs: Tensor
    """(n, t), of the policy that sampled, in nats."""
    values: Tensor
    """(n, t), of the state before each token, by the critic as it was then."""
    advantages: Tensor
    """(n, t), whitened where that is wanted."""
    returns: Tensor
    """(n, t), what the critic learns: advantages before whitening, and values."""
    learnt: Tensor
    """(n, t), 1 on the tokens that are learnt from: all, or those of answers that ended."""


def policy_losses(log_ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Return -min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) at each token, r = exp(log_ratio).

    Schulman et al. 2017, arXiv:1707.06347, equation 7.
    """
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def value_losses(values: Tensor, old: Tensor, returns: Tensor, epsilon: float | None) -> Tensor:
    """Return half the squared error at each token: the larger of that of the new value and that of
    the new value kept within epsilon of the old one, where there is an epsilon.

    Engstrom et al. 2020, arXiv:2005.12729, section 3.
    """
    errors = (values - returns).square()
    if epsilon is not None:
        near = old + (values - old).clamp(-epsilon, epsilon)
        errors = torch.maximum(errors, (near - returns).square())
    return errors / 2


def adapt_kl_coefficient(
    beta: float, kl: float, target: float, sequences: int, horizon: int
) -> float:
    """Return the KL coefficient moved towards a KL divergence a sequence of `target` nats.

    Ziegler et al. 2019, arXiv:1909.08593, section 2.2; with their constant 0.1 a batch written as
    sequences / horizon, as in their code.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * sequences / horizon)


class PpoTrainer(OnPolicyTrainer):
    """PPO; see the module's text. A critic without a body of its own shares the policy's."""

    def __init__(self, inputs: TrainerInputs, config: PpoConfig, critic_body: Any | None) -> None:
        model, rate = inputs.policy.model, inputs.arguments.learning_rate
        self.actor_critic = ActorCritic(model, critic_body)
        head = trainable_parameters(self.actor_critic.head)
        groups = [
            {"params": trainable_parameters(model), "lr": rate},
            # The head starts from nothing, and has further to go than pre-trained weights.
            {"params": head, "lr": config.critic_learning_rate},
        ]
        if critic_body is not None:
            groups.append({"params": trainable_parameters(critic_body), "lr": rate})
            if inputs.arguments.activation_checkpointing:
                critic_body.gradient_checkpointing_enable({"use_reentrant": False})
        super().__init__(inputs, config, self.actor_critic, groups)
        self.config = config
        self.extra_state["beta"] = config.beta  # moves where it is adaptive

    def update_policy(self, rollouts: Rollouts) -> dict[str, float]:
        experience, metrics = self.compute_experience(rollouts)
        updates: list[dict[str, Tensor]] = []
        for minibatch in self._minibatches(len(rollouts.scores)):
            updates.append(self._update_on_minibatch(experience, minibatch))
            limit = self.config.early_stop_kl
            if limit is not None and updates[-1]["approx_kl"] > limit:
                break
        means = {name: fmean(update[name].item() for update in updates) for name in updates[0]}
        return {**metrics, **means, "updates": len(updates)}

    def compute_experience(self, rollouts: Rollouts) -> tuple[Experience, dict[str, float]]:
        """Return what is held fixed while the policy learns from its answers, and metrics."""
        config, sequences = self.config, rollouts.sequences
        mask, beta = sequences.mask, self.extra_state["beta"]
        log_probs, values, entropy, reference = self._score_before_update(sequences)
        # rewards
        kl = kl_per_token(log_probs, reference, config.kl_estimator)
        scores = rollouts.scores - config.missing_end_penalty * ~rollouts.ended
        rewards = token_rewards(scores, kl, mask, beta)
        # advantages
        advantages = generalized_advantages(rewards, values, mask, config.gamma, config.lam)
        returns = advantages + values * mask  # before whitening: the critic is in units of reward
        learnt = mask * rollouts.ended[:, None] if config.mask_truncated_completions else mask
        if config.whiten_advantages:
            advantages = whiten(advantages, learnt, self.reduce_sum)
        kl_sequence = (kl * mask).sum(1).mean()
        metrics = {
            "entropy": masked_mean(entropy, mask).item(),
            "value": masked_mean(values, mask).item(),
            "return": masked_mean(returns, mask).item(),
            "explained_variance": explained_variance(values, returns, mask).item(),
        }
        if self.reference is not None:
            metrics["kl"] = masked_mean(kl, mask).item()
            metrics["rollout/kl_sequence"] = kl_sequence.item()
            metrics["kl_coefficient"] = beta
            metrics["non_score_reward"] = -beta * kl_sequence.item()
        # KL coefficient of the next batch, the same in all processes
        if config.kl_target is not None:
            count = self.reduce_sum(torch.ones_like(kl_sequence))
            mean_kl = (self.reduce_sum(kl_sequence) / count).item()
            batch = self.process_batch_size * self.accelerator.num_processes
            target, horizon = config.kl_target, config.kl_horizon
            self.extra_state["beta"] = adapt_kl_coefficient(beta, mean_kl, target, batch, horizon)
        return Experience(sequences, log_probs, values, advantages, returns, learnt), metrics

    # Advantages and returns are numbers: the gradient goes through the new log-probabilities and
    # values only. The old ones are computed here, not taken from the rollout, whose kernels round
    # otherwise: the first ratio must be 1.
    @torch.no_grad()
    def _score_before_update(self, sequences: Sequences) -> tuple[Tensor, ...]:
        """Return log-probabilities, values and entropies of the policy as it sampled, and the
        log-probabilities of the reference (of the policy where none is kept); each (n, t)."""
        temperature = self.inputs.sampling.temperature
        scores = tuple(torch.zeros_like(sequences.mask) for _ in range(4))
        for index in sequences.microbatches(torch.arange(len(sequences)), self.micro_batch_size):
            microbatch = sequences.rows(index)
            log_probs, entropy, values = self.module(microbatch, temperature, entropy=True)
            reference = log_probs
            if self.reference is not None:
                # accelerate puts autocast into the module's forward pass, not the reference's.
                head = self.actor_critic.vocabulary
                with self.accelerator.autocast():
                    scored = score_tokens(self.reference, microbatch, temperature, head)
                reference = scored.log_probs
            for whole, part in zip(scores, (log_probs, values, entropy, reference), strict=True):
                whole[index, : part.shape[1]] = part
        return scores

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        """Yield the answers of each update: all answers once an epoch, in random order."""
        for _ in range(self.config.epochs):
            yield from torch.randperm(count).tensor_split(self.config.minibatches)

    def _update_on_minibatch(self, experience: Experience, minibatch: Tensor) -> dict[str, Tensor]:
        """Take one optimizer step on some of the answers; return metrics of it."""
        sequences = experience.sequences
        # The mean is over all processes' tokens, and the gradients are averaged over the processes.
        tokens = self.reduce_sum(experience.learnt[minibatch].sum()).clamp(min=1)
        tokens = tokens / self.accelerator.num_processes
        metrics: dict[str, Tensor] = {}

        def loss_of(microbatch: Tensor) -> Tensor:
            loss, shares = self.loss(experience, microbatch, tokens)
            for name, share in shares.items():
                metrics[name] = metrics.get(name, 0) + share.detach()
            return loss

        microbatches = sequences.microbatches(minibatch, self.micro_batch_size)
        metrics["grad_norm"] = self.optimizer_step(microbatches, loss_of)
        # All processes stop early, or none does.
        approx_kl = self.reduce_sum(metrics["approx_kl"]) / self.accelerator.num_processes
        return {**metrics, "approx_kl": approx_kl}

    def loss(
        self, experience: Experience, index: Tensor, tokens: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what some answers add to a minibatch's loss, a mean over tokens, and metrics."""
        config, sequences = self.config, experience.sequences.rows(index)
        length = sequences.mask.shape[1]
        mask = experience.learnt[index, :length]
        log_probs, entropy, values = self.module(
            sequences, self.inputs.sampling.temperature, entropy=config.entropy_coefficient != 0
        )

        def mean(x: Tensor) -> Tensor:
            return (x * mask).sum() / tokens

        # `rows` has cut the columns that only other answers fill.
        fixed = experience.log_probs, experience.values, experience.advantages, experience.returns
        old_log_probs, old_values, advantages, returns = (part[index, :length] for part in fixed)
        # policy
        log_ratio = (log_probs - old_log_probs) * mask  # padding could overflow in exp: 0 * inf
        policy_loss = mean(policy_losses(log_ratio, advantages, config.epsilon))
        # critic
        value_loss = mean(value_losses(values, old_values, returns, config.value_epsilon))
        loss = policy_loss + config.value_coefficient * value_loss
        # entropy
        if entropy is not None:
            loss = loss - config.entropy_coefficient * mean(entropy)
        ratio = log_ratio.detach().exp()
        return loss, {
            "loss": loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "ratio": mean(ratio),
            "approx_kl": mean(kl_per_token(old_log_probs, log_probs.detach(), "k3")),
            "clip_fraction": mean(((ratio - 1).abs() > config.epsilon).float()),
        }

    def extra_module(self) -> torch.nn.Module:
        return self.actor_critic.critic_modules()
