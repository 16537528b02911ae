"""Trainers of GRPO and RLOO as runs build them, that read log-probabilities drawn by a test."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from trainers.slow_losses import Answer, TokenLoss

LENGTHS, LONGEST = (5, 3, 1, 4), 6
ADVANTAGES = (1.3, -0.7, -1.1, 0.4)


class Drawn:
    """Log-probabilities of four answers: now (to differentiate), sampled, and the reference's."""

    def __init__(self, spread: float = 0.6) -> None:
        random = torch.Generator().manual_seed(3)

        def noise() -> Tensor:
            return torch.randn(len(LENGTHS), max(LENGTHS), generator=random)

        self.mask = torch.tensor([[t < n for t in range(max(LENGTHS))] for n in LENGTHS]).int()
        base = -1.5 + 0.8 * noise()
        self.new = base.clone().requires_grad_()
        self.old = base + spread * noise()
        self.reference = base + 0.5 * noise()
        self.advantages = torch.tensor(ADVANTAGES)
        self.entropies = noise().abs()

    def batch(self) -> dict[str, Any]:
        ids = torch.zeros_like(self.mask, dtype=torch.long)
        return {
            "prompt_ids": ids[:, :1],
            "prompt_mask": torch.ones_like(ids[:, :1]),
            "completion_ids": ids,
            "completion_mask": self.mask,
            "advantages": self.advantages,
            "num_items_in_batch": self.mask.sum(),
            "old_per_token_logps": self.old,
            "old_logps": (self.old * self.mask).sum(1),
            "ref_per_token_logps": self.reference,
        }

    def answers(self) -> tuple[Tensor, list[Answer]]:
        """The same for the slow losses, with the float64 leaf that they are differentiated by."""
        leaf = self.new.detach().double().requires_grad_()
        fixed = (values.tolist() for values in (self.old, self.reference))
        rows = zip(leaf, *fixed, LENGTHS, self.advantages.tolist(), strict=True)
        return leaf, [
            Answer(new, old[:n], reference[:n], [advantage] * n)
            for new, old, reference, n, advantage in rows
        ]


CURRENT: list[Drawn] = []
"""What the forward pass gives."""


def value_and_gradient(trainer: Any, drawn: Drawn, batch: dict[str, Any]) -> tuple[float, Tensor]:
    CURRENT[:] = [drawn]
    drawn.new.grad = None
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    assert drawn.new.grad is not None
    return loss.item(), drawn.new.grad * drawn.mask


def slow(drawn: Drawn, average: Any, *terms: tuple[float, TokenLoss]) -> tuple[float, Tensor]:
    leaf, answers = drawn.answers()
    loss = average(answers, lambda a, t: sum(weight * term(a, t) for weight, term in terms))
    loss.backward()
    assert leaf.grad is not None
    return loss.item(), leaf.grad


def check(got: tuple[float, Tensor], wanted: tuple[float, Tensor]) -> None:
    assert got[0] == pytest.approx(wanted[0], rel=1e-5, abs=1e-6)
    torch.testing.assert_close(got[1].double(), wanted[1], rtol=1e-4, atol=1e-6)
