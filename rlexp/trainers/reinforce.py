"""REINFORCE: the policy gradient itself, with a KL penalty and a baseline (Williams 1992).

**What is maximised.** A prompt x is drawn, the policy pi writes an answer y, and the reward says
r(x, y). Left to itself the policy would find whatever the reward forgets to ask, so drifting from
the reference, the model before training, costs beta a nat:

    J = E_x E_y~pi [ R(x, y) ],    R(x, y) = r(x, y) - beta (log pi(y|x) - log ref(y|x))

The expectation of the bracket behind beta is KL(pi || ref). (The optimum is known:
pi*(y|x) = ref(y|x) exp(r(x, y) / beta) / Z(x); the tests compare with it.)

**Its gradient.** Answers are drawn from what is differentiated, so the gradient cannot simply be
pulled inside. But grad pi = pi grad log pi, hence

    grad J = E_y~pi [ R grad log pi(y|x) ] + E_y~pi [ grad R ]

and the last term vanishes: grad R = -beta grad log pi, and E_y~pi [grad log pi] = grad sum_y pi(y)
= grad 1 = 0. So R is treated as a number. An answer is made of tokens and
log pi(y|x) = sum_t log pi(y_t | x, y_<t), its end token included: the end is an action as well.

**The baseline.** For the same reason any b that does not depend on y may be subtracted,

    grad J = E [ (R - b) grad log pi(y|x) ],

which changes nothing in expectation and much in variance: with b near E[R] an answer is pushed up
if it is better than usual and down if it is worse, rather than all up if R happens to be positive.

- `none`: b = 0.
- `moving_average`: b = the mean of R over earlier batches, the older the less. It cannot depend on
  this batch's answers, since they came later.
- `leave_one_out`: k answers to each prompt; b = the mean R of the *other* k - 1 (Kool et al. 2019,
  https://openreview.net/forum?id=r1lgTGL5DE; Ahmadian et al. 2024, arXiv:2402.14740, "RLOO").

**The loss.** An estimate from n answers is the gradient of -(1/n) sum_i (R_i - b_i) log pi(y_i|x_i)
with (R_i - b_i) held fixed. The loss's value means nothing: it goes neither up nor down as the
policy learns. Watch the reward and the KL divergence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlexp.trainers.config import ReinforceConfig
from rlexp.trainers.critic import trainable_parameters
from rlexp.trainers.loop import OnPolicyTrainer
from rlexp.trainers.rollouts import Rollouts, TrainerInputs
from rlexp.trainers.token_scores.sequences import Sequences, score_tokens
from rlexp.trainers.token_scores.vocabulary_head import vocabulary_head


def leave_one_out(returns: Tensor, generations: int) -> Tensor:
    """Return (n,): for each answer the mean return of the others to its prompt, next to it."""
    groups = returns.view(-1, generations)
    others = groups.sum(1, keepdim=True) - groups
    return (others / (generations - 1)).flatten()


def policy_gradient_loss(log_probs: Tensor, mask: Tensor, advantages: Tensor) -> Tensor:
    """Return -(1/n) sum_i A_i log pi(y_i | x_i), whose gradient estimates the policy's, downhill.

    Log-probabilities and mask are (n, t), advantages (n,) numbers without a gradient.
    """
    answers = (log_probs * mask).sum(1)
    return -(advantages * answers).mean()


class TokenScorer(nn.Module):
    """A policy behind a forward pass that scores answers, as data parallelism wants it.

    Attributes:
        policy: a transformers causal LM, or a PEFT model around one.
        vocabulary: from its last hidden states to logits.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy
        self.vocabulary = vocabulary_head(policy)

    def forward(
        self, sequences: Sequences, temperature: float, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return log-probabilities and, where wanted, entropies of answers, each (n, t)."""
        head = self.vocabulary
        scores = score_tokens(self.policy, sequences, temperature, head, entropy=entropy)
        return scores.log_probs, scores.entropy


class ReinforceTrainer(OnPolicyTrainer):
    """REINFORCE; see the module's text."""

    def __init__(self, inputs: TrainerInputs, config: ReinforceConfig) -> None:
        model, rate = inputs.policy.model, inputs.arguments.learning_rate
        self.scorer = TokenScorer(model)
        groups = [{"params": trainable_parameters(model), "lr": rate}]
        super().__init__(inputs, config, self.scorer, groups)
        self.config = config

    def update_policy(self, rollouts: Rollouts) -> dict[str, float]:
        """Take one step along the policy gradient, estimated from n answers."""
        temperature = self.inputs.sampling.temperature
        sequences, mask = rollouts.sequences, rollouts.sequences.mask
        # returns
        kl, entropy = self._kl_and_entropy(sequences)
        returns = rollouts.scores - self.config.beta * kl
        # advantages
        advantages = returns - self.baseline(returns)
        if self.config.mask_truncated_completions:
            advantages = advantages * rollouts.ended
        # update
        losses: list[Tensor] = []

        def loss_of(microbatch: Tensor) -> Tensor:
            part = sequences.rows(microbatch)
            log_probs, _ = self.module(part, temperature)
            loss = policy_gradient_loss(log_probs, part.mask, advantages[microbatch])
            # The batch's mean is made of the microbatches' means, each weighted by its size.
            losses.append(loss * (len(microbatch) / len(returns)))
            return losses[-1]

        norm = self.optimizer_step(self._microbatches(sequences), loss_of)
        metrics = {
            "loss": sum(loss.item() for loss in losses),
            "grad_norm": norm.item(),
            "entropy": (entropy.sum() / mask.sum()).item(),
            "advantage_std": advantages.std(correction=0).item(),
        }
        if self.reference is not None:
            metrics["kl"] = (kl.sum() / mask.sum()).item()
            metrics["rollout/kl_sequence"] = kl.mean().item()
        return metrics

    def baseline(self, returns: Tensor) -> Tensor:
        """Return what each return, (n,), is compared with; it must not depend on that answer."""
        if self.config.baseline == "leave_one_out":
            return leave_one_out(returns, self.inputs.generations)
        if self.config.baseline == "none":
            return torch.zeros_like(returns)
        average = self.extra_state.get("average")
        count = self.reduce_sum(torch.ones_like(returns).sum())
        mean = (self.reduce_sum(returns.sum()) / count).item()
        decay = self.config.baseline_decay
        if average is None:  # the first batch has its own mean, which errs by one answer in n
            average = mean
        # Moved for the next batch: this one's answers must not have a hand in their own baseline.
        self.extra_state["average"] = decay * average + (1 - decay) * mean
        return torch.full_like(returns, average)

    # The returns are numbers, not functions of the weights: see "Its gradient" above.
    @torch.no_grad()
    def _kl_and_entropy(self, sequences: Sequences) -> tuple[Tensor, Tensor]:
        """Return log pi - log ref in nats, and the sum of the tokens' entropies, of each answer."""
        temperature = self.inputs.sampling.temperature
        kl, entropies = torch.zeros(2, len(sequences), device=sequences.mask.device)
        for microbatch in self._microbatches(sequences):
            part = sequences.rows(microbatch)
            log_probs, entropy = self.module(part, temperature, entropy=True)
            difference = torch.zeros_like(log_probs)
            if self.reference is not None:
                # accelerate puts autocast into the module's forward pass, not the reference's.
                with self.accelerator.autocast():
                    reference = score_tokens(
                        self.reference, part, temperature, self.scorer.vocabulary
                    )
                difference = log_probs - reference.log_probs
            kl[microbatch] = (difference * part.mask).sum(1)
            entropies[microbatch] = (entropy * part.mask).sum(1)
        return kl, entropies

    def _microbatches(self, sequences: Sequences) -> list[Tensor]:
        return sequences.microbatches(torch.arange(len(sequences)), self.micro_batch_size)
