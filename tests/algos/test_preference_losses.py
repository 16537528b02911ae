"""Every loss on pairs and labels that is offered, as runs configure it, against float64 loops."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bandit import bandit_spec, policy_and_training, save_bandit
from torch import Tensor

from rlexp.algos.cpo import Cpo
from rlexp.algos.dpo import Dpo

BETA, SMOOTHING, PAIRS, LENGTH = 0.4, 0.1, 3, 5
LENGTHS = (4, 2, 3, 1, 4, 3)
"""Tokens of the chosen answers, then of the rejected ones."""


def softplus(x: Tensor) -> Tensor:
    """-log sigmoid(-x)."""
    return (1 + x.exp()).log()


class Pairs:
    """The log ratios of policy and reference of some pairs, as their papers' losses read them."""

    def __init__(self, policy: Tensor, reference: Tensor) -> None:
        self.policy = [policy[i, :n].sum() for i, n in enumerate(LENGTHS)]
        self.reference = [reference[i, :n].sum() for i, n in enumerate(LENGTHS)]
        ratios = [p - r for p, r in zip(self.policy, self.reference, strict=True)]
        self.good, self.bad = ratios[:PAIRS], ratios[PAIRS:]
        means = [ratio / n for ratio, n in zip(ratios, LENGTHS, strict=True)]
        self.good_means, self.bad_means = means[:PAIRS], means[PAIRS:]
        tokens = [policy[i, t] for i in range(PAIRS) for t in range(LENGTHS[i])]
        self.likelihood = sum(tokens) / len(tokens)

    def mean(self, loss: Callable[[Tensor, Tensor], Tensor], means: bool = False) -> Any:
        pairs = (self.good_means, self.bad_means) if means else (self.good, self.bad)
        return sum(loss(c, r) for c, r in zip(*pairs, strict=True)) / PAIRS

    def transported(self, one: list[Any], other: list[Any]) -> Any:
        """AOT: the k-th smallest against the k-th smallest."""
        total: Any = 0
        for a, b in zip(sorted(one, key=float), sorted(other, key=float), strict=True):
            total = total + (1 - SMOOTHING) * softplus(-BETA * (a - b))
            total = total + SMOOTHING * softplus(BETA * (a - b))
        return total / PAIRS


def margins(values: list[Any]) -> list[Any]:
    return [values[i] - values[PAIRS + i] for i in range(PAIRS)]


def exo(c: Tensor, r: Tensor) -> Tensor:
    """KL of the policy's preference to the smoothed label (arXiv:2402.00856, equation 16)."""
    p = (BETA * (c - r)).sigmoid()
    return p * (p.log() - log(1 - SMOOTHING)) + (1 - p) * ((1 - p).log() - log(SMOOTHING))


def robust(c: Tensor, r: Tensor) -> Tensor:
    """arXiv:2403.00409, equation 11."""
    right, wrong = softplus(-BETA * (c - r)), softplus(BETA * (c - r))
    return ((1 - SMOOTHING) * right - SMOOTHING * wrong) / (1 - 2 * SMOOTHING)


def discopop(c: Tensor, r: Tensor) -> Tensor:
    """arXiv:2406.08414, equation 5, with its temperature of 0.05."""
    x = BETA * (c - r)
    share = (x / 0.05).sigmoid()
    return (1 - share) * softplus(-x) + share * (-x).exp()


DPO: dict[str, Callable[[Pairs], Any]] = {
    "sigmoid": lambda pairs: pairs.mean(lambda c, r: softplus(-BETA * (c - r))),
    "hinge": lambda pairs: pairs.mean(lambda c, r: (1 - BETA * (c - r)).clamp(min=0)),
    "ipo": lambda pairs: pairs.mean(lambda c, r: (c - r - 1 / (2 * BETA)) ** 2, means=True),
    "exo_pair": lambda pairs: pairs.mean(exo),
    "nca_pair": lambda pairs: pairs.mean(
        lambda c, r: softplus(-BETA * c) + (softplus(BETA * c) + softplus(BETA * r)) / 2
    ),
    "robust": lambda pairs: pairs.mean(robust),
    "bco_pair": lambda pairs: pairs.mean(lambda c, r: softplus(-BETA * c) + softplus(BETA * r)),
    "sppo_hard": lambda pairs: pairs.mean(
        lambda c, r: (c - 1 / (2 * BETA)) ** 2 + (r + 1 / (2 * BETA)) ** 2
    ),
    "aot": lambda pairs: pairs.transported(margins(pairs.policy), margins(pairs.reference)),
    "aot_unpaired": lambda pairs: pairs.transported(pairs.good, pairs.bad),
    "apo_zero": lambda pairs: pairs.mean(lambda c, r: (-BETA * c).sigmoid() + (BETA * r).sigmoid()),
    "apo_down": lambda pairs: pairs.mean(
        lambda c, r: (BETA * c).sigmoid() + (-BETA * (c - r)).sigmoid()
    ),
    "discopop": lambda pairs: pairs.mean(discopop),
    "sft": lambda pairs: -pairs.likelihood,
    "sigmoid_norm": lambda pairs: pairs.mean(lambda c, r: softplus(-BETA * (c - r)), means=True),
}


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bandit(tmp_path_factory.mktemp("bandit"), seed=0)


def built(bandit: Path, words: str, rows: list[dict[str, Any]]) -> Any:
    spec = bandit_spec(bandit, words)
    trainer: Any = spec.algo.build_trainer(policy_and_training(spec, rows, bandit / "run"))
    trainer.model.train()
    return trainer


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the policy, to differentiate, and of the reference, and the mask."""
    random = torch.Generator().manual_seed(1)
    mask = torch.tensor([[t < n for t in range(LENGTH)] for n in LENGTHS]).int()
    policy, reference = (
        -(torch.randn(len(LENGTHS), LENGTH, generator=random).abs()) * mask for _ in range(2)
    )
    return policy.requires_grad_(), reference, mask


def model_of(log_probs: Tensor, others: Tensor | None = None) -> Any:
    """What TRL calls; it says `others` of input ids that are 7."""

    def call(input_ids: Tensor, **named: Any) -> Any:
        values = log_probs if others is None or input_ids[0, 0] != 7 else others
        like = torch.zeros_like(values)
        parts = {"entropy": like, "mean_logits": like, "is_top1": like.bool()}
        return SimpleNamespace(log_probs=values, **parts)

    return call


def batch_of(mask: Tensor) -> dict[str, Tensor]:
    whole = torch.cat([torch.zeros_like(mask[:, :1]), mask], 1)
    ones = torch.ones_like(whole)
    return {"input_ids": ones, "attention_mask": ones, "completion_mask": whole}


@pytest.fixture(scope="module")
def dpo(bandit: Path) -> Any:
    words = f"algo.loss_type=[{','.join(DPO)}] algo.loss_weights={[1.0] * len(DPO)}"
    words = words.replace(" [", "[").replace(", ", ",")
    rows = [{"prompt": "p", "chosen": " a1", "rejected": " a2"}] * 4
    smoothing = f"algo.label_smoothing={SMOOTHING}"
    return built(bandit, f"algo=dpo algo.beta={BETA} {smoothing} {words}", rows)


def test_every_loss_of_dpo_is_looked_at(dpo: Any) -> None:
    """A loss that is offered and that nobody has compared with its paper."""
    offered = Dpo.model_fields["loss_type"].annotation.__args__[0].__args__  # pyright: ignore
    assert tuple(DPO) == offered and dpo.loss_types == list(DPO)


@pytest.mark.parametrize("kind", DPO)
def test_each_loss_of_dpo_is_its_papers(
    kind: str, dpo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign, a scale, an average; label smoothing that does not reach the loss."""
    policy, reference, mask = drawn()
    monkeypatch.setattr(dpo, "loss_weights", [float(name == kind) for name in DPO])
    monkeypatch.setattr(dpo, "ref_model", model_of(reference))
    loss = dpo._compute_loss(model_of(policy), batch_of(mask), False)
    leaf = policy.detach().double().requires_grad_()
    wanted = DPO[kind](Pairs(leaf, reference.double()))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, policy)
    (true,) = torch.autograd.grad(wanted, leaf)
    torch.testing.assert_close((gradient * mask).double(), true, rtol=1e-4, atol=1e-6)


MARGIN = 0.3
CPO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda c, r: softplus(-BETA * (c - r)),
    "hinge": lambda c, r: (1 - BETA * (c - r)).clamp(min=0),
    "ipo": lambda c, r: (c - r - 1 / (2 * BETA)) ** 2,
    "simpo": lambda c, r: softplus(-(BETA * (c - r) - MARGIN)),
}


@pytest.mark.parametrize("kind", CPO)
def test_each_loss_of_cpo_is_its_papers(kind: str, bandit: Path) -> None:
    """A margin that is divided by beta once more; sums in the place of SimPO's means."""
    assert tuple(CPO) == Cpo.model_fields["loss_type"].annotation.__args__  # pyright: ignore
    rows = [{"prompt": "p", "chosen": " a1 a2", "rejected": " a3"}] * 2
    knobs = f"algo.loss_type={kind} algo.simpo_gamma={MARGIN} algo.nll_weight=0.5"
    trainer = built(bandit, f"algo=cpo algo.beta={BETA} {knobs} train.batch_size=2", rows)
    batch = next(iter(trainer.get_train_dataloader()))
    loss, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
    ids = [torch.tensor([[2, 4, 5, 1]]), torch.tensor([[2, 6, 1]])]
    sums, lengths = [], []
    for answer in ids:  # the prompt's one token comes first, the end token last
        says = trainer.model(answer).logits[:, :-1].double().log_softmax(-1)
        sums.append(says.gather(2, answer[:, 1:, None]).sum())
        lengths.append(answer.shape[1] - 1)
    over = lengths if kind in ("simpo", "ipo") else [1, 1]
    wanted = CPO[kind](sums[0] / over[0], sums[1] / over[1]) - 0.5 * sums[0] / lengths[0]
    assert loss.item() == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("kind", ["kto", "apo_zero_unpaired"])
def test_each_loss_of_kto_is_its_papers(
    kind: str, bandit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights exchanged; a divergence that is differentiated, or below 0."""
    rows = [{"prompt": "p", "completion": " a1", "label": True}] * 4
    knobs = f"algo.loss_type={kind} algo.desirable_weight=1.5 algo.undesirable_weight=0.7"
    trainer = built(bandit, f"algo=kto algo.beta={BETA} {knobs}", rows)
    policy, reference, mask = drawn()
    others = [0.1 * mask, 0.02 * mask]  # of mismatched answers: a divergence above 0
    monkeypatch.setattr(trainer, "ref_model", model_of(reference, others[1]))
    batch = batch_of(mask)
    matched = {f"KL_{name}": value * 7 for name, value in batch.items()}
    labels = torch.tensor([True, False, True, True, False, False])
    loss = trainer._compute_loss(
        model_of(policy, others[0]), {**batch, **matched, "label": labels}, False
    )
    leaf = policy.detach().double().requires_grad_()
    divergence = 0.08 * sum(LENGTHS) / len(LENGTHS) if kind == "kto" else 0.0
    wanted: Any = 0
    for i, (n, good) in enumerate(zip(LENGTHS, labels.tolist(), strict=True)):
        z = BETA * ((leaf[i, :n] - reference[i, :n].double()).sum() - divergence)
        wanted = wanted + (1.5 * (-z).sigmoid() if good else 0.7 * z.sigmoid())
    wanted = wanted / len(LENGTHS)
    assert loss.item() == pytest.approx(float(wanted), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, policy)
    (true,) = torch.autograd.grad(wanted, leaf)
    torch.testing.assert_close((gradient * mask).double(), true, rtol=1e-4, atol=1e-6)
