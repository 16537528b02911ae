"""TRL's GRPO and RLOO with what they lack: KL estimators and their place, and control of tokens.

TRL computes rollouts, rewards, the clipped loss and its metrics. Here its advantages are made anew
where the KL divergence is to be in the reward, or is not; tokens are taken out of its loss by an
advantage of 0; and terms are added to the loss, averaged over tokens as its own. What TRL has is
left to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer, RLOOTrainer

from rlexp.trainers.advantages import kl_per_token
from rlexp.trainers.config import KlConfig
from rlexp.trainers.group_config import GrpoLossConfig
from rlexp.trainers.token_control import (
    CLIP_COV_SHARE,
    KL_COV_SHARE,
    clip_cov_tokens,
    covariances,
    group_advantages,
    kl_cov_tokens,
    leave_one_out_advantages,
    outside_trust_region,
)

Batch = dict[str, Any]


def averaged(values: Tensor, mask: Tensor, trainer: Any, batch: Batch) -> Tensor:
    """Return values of tokens, (n, t), as a term of a GRPOTrainer's loss: averaged as its loss is.

    What the backward passes of a step add up to is the average.
    """
    kind, passes = trainer.loss_type, trainer.current_gradient_accumulation_steps
    answers = (values * mask).sum(1)
    if kind in ("grpo", "sapo"):
        return (answers / mask.sum(1).clamp(min=1)).mean() / passes
    if kind == "luspo":
        return answers.mean() / passes
    if kind == "bnpo":
        return answers.sum() / mask.sum().clamp(min=1) / passes
    if kind == "dr_grpo":
        return answers.sum() / (len(mask) * trainer.max_completion_length) / passes
    # TRL counts the tokens of all processes, in all the parts that a batch of rollouts is cut into.
    tokens = batch["num_items_in_batch"].clamp(min=1) / trainer.accelerator.num_processes
    return answers.sum() / (tokens * passes / trainer.args.steps_per_generation)


def kl_in_loss(log_probs: Tensor, reference: Tensor, log_ratio: Tensor, knobs: KlConfig) -> Tensor:
    """Return the estimate of KL(policy || reference) at each token, differentiable, in nats.

    The importance weight is differentiable as well: with it the gradient of k1 and k3 is that of
    the KL divergence (Tang & Munos 2025, arXiv:2506.09477).
    """
    kl = kl_per_token(log_probs, reference, knobs.kl_estimator)
    return kl * log_ratio.exp() if knobs.kl_importance_weights else kl


def log_kl(trainer: Any, kl: Tensor, mask: Tensor) -> None:
    """Give a trainer's log the mean of a KL divergence over the tokens of all processes."""
    sums = trainer.accelerator.reduce(torch.stack([(kl * mask).sum(), mask.sum().float()]), "sum")
    trainer._metrics["train"]["kl"].append((sums[0] / sums[1].clamp(min=1)).item())


def gathered(trainer: Any, values: Tensor) -> Tensor:
    """Return a trainer's numbers of all processes."""
    return trainer.accelerator.gather(values)


def share_of_process(trainer: Any, values: Tensor, count: int) -> Tensor:
    """Return this process's `count` of numbers of all processes."""
    start = trainer.accelerator.process_index * count
    return values[start : start + count]


def answer_mask(batch: Batch) -> Tensor:
    """Return (n, t), 1 on the tokens that the policy wrote, and that are learnt from."""
    mask: Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


class RegularizedGrpoTrainer(GRPOTrainer):
    """TRL's GRPOTrainer by all the knobs of a `GrpoLossConfig`.

    Attributes:
        learning: the batch whose loss is being computed.
        rewards: (n,), of all processes' answers, those of the last rollouts.
    """

    def __init__(self, *, knobs: GrpoLossConfig, **arguments: Any) -> None:
        self.knobs = knobs
        self.learning: Batch | None = None
        self.rewards = torch.empty(0)
        super().__init__(**arguments)
        # TRL's loss has k3, whose gradient its importance weights make that of the KL divergence.
        self.adds_kl = self.beta > 0 and (knobs.kl_in, knobs.kl_estimator) != ("loss", "k3")

    def _calculate_rewards(self, *arguments: Any) -> Tensor:
        rewards = super()._calculate_rewards(*arguments)
        self.rewards = rewards[:, 0]  # the run's reward is one function
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        output = super()._generate_and_score_completions(inputs)
        if self.beta > 0 and self.knobs.kl_in == "reward":
            output["advantages"] = self._penalised_advantages(output)
        return output

    @torch.no_grad()
    def _penalised_advantages(self, output: Batch) -> Tensor:
        """Return (n,), of rewards off which the KL divergence of the whole answer is taken."""
        mask = output["completion_mask"]
        log_probs = output.get("old_per_token_logps")
        if log_probs is None:
            ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
            attended = torch.cat([output["prompt_mask"], mask], 1)
            size = self.args.per_device_train_batch_size
            scores = self._get_per_token_logps_and_entropies(
                self.model, ids, attended, mask.shape[1], batch_size=size
            )
            log_probs = scores[0]
        kl = kl_per_token(log_probs, output["ref_per_token_logps"], self.knobs.kl_estimator)
        log_kl(self, kl, mask)
        rewards = self.rewards - self.beta * gathered(self, (kl * mask).sum(1))
        assert self.num_generations is not None
        advantages = group_advantages(rewards, self.num_generations, self.scale_rewards)
        return share_of_process(self, advantages, len(mask))

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
        scores = super()._get_per_token_logps_and_entropies(*arguments, **named)
        if self.learning is not None:
            self._control_tokens(self.learning, scores[0])
        return scores

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        self.learning = batch = dict(inputs)
        beta = self.beta
        self.beta = 0.0 if self.adds_kl else beta
        try:
            loss = super()._compute_loss(model, batch)
        finally:
            self.learning, self.beta = None, beta
        log_probs, mask = batch["log_probs"], answer_mask(batch)
        log_ratio = log_probs - batch.get("old_per_token_logps", log_probs.detach())
        if self.adds_kl and self.knobs.kl_in == "loss":
            weight = log_ratio
            if self.importance_sampling_level == "sequence":
                tokens = mask.sum(1, keepdim=True).clamp(min=1)
                weight = (log_ratio * mask).sum(1, keepdim=True) / tokens
            kl = kl_in_loss(log_probs, batch["ref_per_token_logps"], weight, self.knobs)
            log_kl(self, kl.detach(), mask)
            loss = loss + beta * averaged(kl, mask, self, batch)
        if "held_tokens" in batch:
            distance = log_ratio.abs() * batch["held_tokens"]
            loss = loss + self.knobs.kl_cov_coefficient * averaged(distance, mask, self, batch)
        return loss

    @torch.no_grad()
    def _control_tokens(self, batch: Batch, log_probs: Tensor) -> None:
        """Say in the batch which tokens TRL's loss is to leave out, and which are held fast.

        TRL calls this between its forward pass and its loss, which takes advantages of tokens,
        (n, t), as well as of answers.
        """
        batch["log_probs"], knobs, mask = log_probs, self.knobs, answer_mask(batch)
        new = log_probs.detach()
        old = batch.get("old_per_token_logps", new)
        advantages = batch["advantages"][:, None].expand_as(new)
        left_out = torch.zeros_like(mask, dtype=torch.bool)
        if knobs.trust_region != "ratio":
            sampled = batch.get("sampling_per_token_logps", old).nan_to_num(0.0)
            size = knobs.trust_region_size
            left_out = outside_trust_region(new, sampled, advantages, knobs.trust_region, size)
        if knobs.entropy_control != "none":
            covariance = covariances(new, advantages, mask)
            if knobs.entropy_control == "clip_cov":
                free = mask.bool() & ~left_out & ~self._is_clipped(new - old, advantages)
                between = knobs.clip_cov_low, knobs.clip_cov_high
                share = knobs.cov_share or CLIP_COV_SHARE
                left_out = left_out | clip_cov_tokens(covariance, mask, free, share, *between)
            else:
                share = knobs.cov_share or KL_COV_SHARE
                batch["held_tokens"] = kl_cov_tokens(covariance, mask, share)
        if (knobs.trust_region, knobs.entropy_control) != ("ratio", "none"):
            self._log_share("tokens/left_out", left_out, mask)
        if left_out.any():
            batch["advantages"] = advantages.masked_fill(left_out, 0.0)

    def _is_clipped(self, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return (n, t) bool: tokens that the clip has taken out of the loss already."""
        ratio = log_ratio.exp()
        high = (ratio > 1 + self.epsilon_high) & (advantages > 0)
        return high | ((ratio < 1 - self.epsilon_low) & (advantages < 0))

    def _log_share(self, name: str, tokens: Tensor, mask: Tensor) -> None:
        share = (tokens * mask).sum() / mask.sum().clamp(min=1)
        self._metrics["train"][name].append(gathered(self, share).mean().item())


class RegularizedRlooTrainer(RLOOTrainer):
    """TRL's RLOOTrainer by all the knobs of a `KlConfig`.

    Attributes:
        rewards: (n,), of all processes' answers, those of the last rollouts.
        seen: log-probabilities of tokens, in the order in which TRL has asked for them.
    """

    def __init__(self, *, knobs: KlConfig, **arguments: Any) -> None:
        self.knobs = knobs
        self.rewards = torch.empty(0)
        self.seen: list[Tensor] = []
        super().__init__(**arguments)
        # TRL takes k1 off the reward.
        self.adds_kl = self.beta > 0 and (knobs.kl_in, knobs.kl_estimator) != ("reward", "k1")

    def _calculate_rewards(self, *arguments: Any) -> Tensor:
        rewards = super()._calculate_rewards(*arguments)
        self.rewards = rewards[:, 0]  # the run's reward is one function
        return rewards

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
        scores = super()._get_per_token_logps_and_entropies(*arguments, **named)
        self.seen.append(scores[0])
        return scores

    def _generate_and_score_completions(self, inputs: Any) -> Batch:
        self.seen = []
        output = super()._generate_and_score_completions(inputs)
        if self.adds_kl:
            output["old_per_token_logps"], output["ref_per_token_logps"] = self.seen
            output["advantages"] = self._own_advantages(output)
        return output

    @torch.no_grad()
    def _own_advantages(self, output: Batch) -> Tensor:
        """Return (n,), of rewards off which the KL divergence is taken where it is to be."""
        mask, rewards = output["completion_mask"], self.rewards
        if self.reward_clip_range:
            rewards = rewards.clamp(*self.reward_clip_range)
        if self.knobs.kl_in == "reward":
            log_probs, reference = output["old_per_token_logps"], output["ref_per_token_logps"]
            kl = (kl_per_token(log_probs, reference, self.knobs.kl_estimator) * mask).sum(1)
            rewards = rewards - self.beta * gathered(self, kl)
        assert self.num_generations is not None
        advantages = leave_one_out_advantages(
            rewards, self.num_generations, self.normalize_advantages
        )
        return share_of_process(self, advantages, len(mask))

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        self.seen = []
        loss = super()._compute_loss(model, inputs)
        (log_probs,) = self.seen
        if self.adds_kl and self.knobs.kl_in == "loss":
            mask = inputs["completion_mask"]
            ratio = ((log_probs - inputs["old_per_token_logps"]) * mask).sum(1, keepdim=True)
            kl = kl_in_loss(log_probs, inputs["ref_per_token_logps"], ratio, self.knobs)
            loss = loss + self.beta * (kl * mask).sum(1).mean()
        self.seen = []
        return loss
