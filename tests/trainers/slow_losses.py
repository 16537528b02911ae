"""The losses of group-relative policy gradients as their papers write them: loops in float64.

A batch is lists: for each answer the log-probabilities of its tokens now, when they were sampled,
and by the reference, and the answer's advantage. What a paper holds fixed is a number (`float`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """One answer, its tokens' log-probabilities as (t,) float64."""

    new: Tensor
    old: list[float]
    reference: list[float]
    advantages: list[float]

    @property
    def tokens(self) -> range:
        return range(len(self.old))

    def ratio(self, t: int) -> Tensor:
        return (self.new[t] - self.old[t]).exp()

    @property
    def geometric_ratio(self) -> Tensor:
        """GSPO's: the answer's ratio to the power of one over its length."""
        return (sum(self.new[t] - self.old[t] for t in self.tokens) / len(self.old)).exp()  # pyright: ignore


TokenLoss = Callable[[Answer, int], Tensor]


def clipped(low: float, high: float, delta: float = math.inf, level: str = "token") -> TokenLoss:
    """PPO's (arXiv:1707.06347, equation 7), with two bounds and a third for bad answers."""

    def loss(answer: Answer, t: int) -> Tensor:
        ratio = answer.ratio(t) if level == "token" else answer.geometric_ratio
        advantage = answer.advantages[t]
        nearest = torch.tensor(min(max(ratio.item(), 1 - low), 1 + high), dtype=torch.float64)
        inside = ratio if nearest == ratio else nearest
        bounded = ratio if ratio <= delta else torch.tensor(delta, dtype=torch.float64)
        return -torch.minimum(bounded * advantage, inside * advantage)

    return loss


def cispo(cap: float) -> TokenLoss:
    """arXiv:2506.13585, equation 4: the capped weight is a number."""
    return lambda a, t: -min(a.ratio(t).item(), cap) * a.advantages[t] * a.new[t]


def sapo(good: float, bad: float) -> TokenLoss:
    """arXiv:2511.20347, equation 4."""

    def loss(answer: Answer, t: int) -> Tensor:
        tau = good if answer.advantages[t] > 0 else bad
        gate = (tau * (answer.ratio(t) - 1)).sigmoid() * 4 / tau
        return -gate * answer.advantages[t]

    return loss


def vespo(good: tuple[float, float], bad: tuple[float, float]) -> TokenLoss:
    """arXiv:2602.10693: W^k exp(lambda (1 - W)), W the ratio of the whole answer, as a number."""

    def loss(answer: Answer, t: int) -> Tensor:
        k, decay = good if answer.advantages[t] >= 0 else bad
        weight = math.exp(sum(answer.new[i].item() - answer.old[i] for i in answer.tokens))
        phi = weight**k * math.exp(decay * (1 - weight))
        return -phi * answer.advantages[t] * answer.new[t]

    return loss


def k3(answer: Answer, t: int) -> Tensor:
    difference = answer.new[t] - answer.reference[t]
    return (-difference).exp() - 1 + difference


ESTIMATORS: dict[str, TokenLoss] = {
    "k1": lambda a, t: a.new[t] - a.reference[t],
    "k2": lambda a, t: (a.new[t] - a.reference[t]) ** 2 / 2,
    "k3": k3,
}
"""http://joschu.net/blog/kl-approx.html."""


def weighted(estimator: str, level: str = "token") -> TokenLoss:
    """An estimate times the importance weight, which is differentiated (arXiv:2512.02556)."""

    def kl(answer: Answer, t: int) -> Tensor:
        ratio = answer.ratio(t) if level == "token" else answer.geometric_ratio
        return ESTIMATORS[estimator](answer, t) * ratio

    return kl


def mean_of_answers(answers: list[Answer], loss: TokenLoss) -> Tensor:
    """Over tokens, then over answers (GRPO, arXiv:2402.03300, equation 3)."""
    means = [sum(loss(a, t) for t in a.tokens) / len(a.old) for a in answers]
    return sum(means) / len(answers)  # pyright: ignore[reportReturnType]


def mean_of_tokens(answers: list[Answer], loss: TokenLoss) -> Tensor:
    """Over all tokens alike (DAPO, arXiv:2503.14476, equation 8)."""
    values = [loss(a, t) for a in answers for t in a.tokens]
    return sum(values) / len(values)  # pyright: ignore[reportReturnType]


def over_constant(longest: int) -> Callable[[list[Answer], TokenLoss], Tensor]:
    """Sums over a constant (Dr. GRPO, arXiv:2503.20783, appendix A)."""
    return lambda answers, loss: (
        sum(  # pyright: ignore[reportReturnType]
            loss(a, t) for a in answers for t in a.tokens
        )
        / (len(answers) * longest)
    )


def sum_of_tokens(answers: list[Answer], loss: TokenLoss) -> Tensor:
    """Each answer weighs as its length (LUSPO, arXiv:2602.05261, equation 9)."""
    return sum(loss(a, t) for a in answers for t in a.tokens) / len(answers)  # pyright: ignore
