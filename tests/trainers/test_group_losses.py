"""Every loss of GRPO and RLOO, as runs configure it, against loops in float64 from the papers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bandit import bandit_spec, policy_and_training, save_bandit
from torch import Tensor
from trainers.slow_losses import (
    ESTIMATORS,
    Answer,
    TokenLoss,
    cispo,
    clipped,
    mean_of_answers,
    mean_of_tokens,
    over_constant,
    sapo,
    sum_of_tokens,
    vespo,
    weighted,
)
from trl import GRPOTrainer, RLOOTrainer

from rlexp.trainers.token_control import covariances, kl_cov_tokens, outside_trust_region

LENGTHS, LONGEST = (5, 3, 1, 4), 6
ADVANTAGES = (1.3, -0.7, -1.1, 0.4)
LOSS = "algo=grpo algo.beta=0.3 algo.num_iterations=2 algo.loss_type="
AVERAGES: dict[str, Callable[[list[Answer], TokenLoss], Tensor]] = {
    "grpo": mean_of_answers,
    "sapo": mean_of_answers,
    "bnpo": mean_of_tokens,
    "dapo": mean_of_tokens,
    "cispo": mean_of_tokens,
    "vespo": mean_of_tokens,
    "dr_grpo": over_constant(LONGEST),
    "luspo": sum_of_tokens,
}
TOKENS: dict[str, TokenLoss] = {
    **dict.fromkeys(("grpo", "bnpo", "dapo", "dr_grpo"), clipped(0.2, 0.2)),
    "luspo": clipped(0.2, 0.2, level="sequence"),
    "cispo": cispo(5.0),
    "sapo": sapo(1.0, 1.05),
    "vespo": vespo((2.0, 3.0), (3.0, 2.0)),
}


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bandit(tmp_path_factory.mktemp("bandit"), seed=0)


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


@pytest.fixture(scope="module")
def built(bandit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Trainers as runs build them, once for the same words, that read what is drawn."""

    length = f"algo.max_completion_length={LONGEST} algo.num_generations=4"
    specs = {algo: bandit_spec(bandit, f"algo={algo} {length}") for algo in ("grpo", "rloo")}

    @cache
    def build(words: str) -> Any:
        name, *knobs = (word.partition("=")[::2] for word in words.split())
        spec = specs[name[1]]
        changed = {knob.removeprefix("algo."): yaml.safe_load(value) for knob, value in knobs}
        algo = type(spec.algo)(**(spec.algo.model_dump() | changed))
        assert not algo.problems()
        spec = spec.model_copy(update={"algo": algo})
        rows = [{"prompt": "p"}] * 64
        training = policy_and_training(spec, rows, tmp_path_factory.mktemp("run"))
        trainer: Any = spec.algo.build_trainer(training)
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        return trainer

    def scores(self: Any, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor, None]:
        return CURRENT[0].new, CURRENT[0].entropies, None

    with pytest.MonkeyPatch.context() as patch:
        for kind in (GRPOTrainer, RLOOTrainer):
            patch.setattr(kind, "_get_per_token_logps_and_entropies", scores)
        yield build


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


@pytest.mark.parametrize("kind", TOKENS)
def test_each_loss_is_its_papers(kind: str, built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong bound, cap or temperature, averages of another loss, what is held fixed; answers
    whose ratios are outside of all bounds are among them, and a KL term."""
    drawn = Drawn()
    ratio = (drawn.new - drawn.old).exp()[drawn.mask.bool()]
    assert ratio.min() < 0.6 and ratio.max() > 1.8
    trainer = built(LOSS + kind)
    level = "sequence" if kind == "luspo" else "token"
    wanted = slow(drawn, AVERAGES[kind], (1, TOKENS[kind]), (0.3, weighted("k3", level)))
    check(value_and_gradient(trainer, drawn, drawn.batch()), wanted)
    # our own term of the loss is averaged as TRL's is, in micro-batches as well
    monkeypatch.setattr(trainer, "adds_kl", True)
    check(value_and_gradient(trainer, drawn, drawn.batch()), wanted)
    monkeypatch.setattr(trainer, "current_gradient_accumulation_steps", 2)
    monkeypatch.setattr(trainer.args, "steps_per_generation", 2)
    batch = drawn.batch() | {"num_items_in_batch": drawn.mask.sum() + 9}
    own = value_and_gradient(trainer, drawn, batch)
    monkeypatch.setattr(trainer, "adds_kl", False)
    theirs = value_and_gradient(trainer, drawn, batch)
    check(own, (theirs[0], theirs[1].double()))


@pytest.mark.parametrize("kind", TOKENS)
def test_one_token_that_nobody_has_learnt_from_yet(
    kind: str, built: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is no policy gradient where it begins: there every one of them is, to -A / n."""
    drawn = Drawn()
    drawn.mask = (torch.arange(max(LENGTHS)) < 1).int().expand(len(LENGTHS), -1).contiguous()
    trainer = built(LOSS + kind)
    monkeypatch.setattr(trainer, "beta", 0.0)
    batch = {name: value for name, value in drawn.batch().items() if not name.startswith("old")}
    _, gradient = value_and_gradient(trainer, drawn, batch)
    longest = LONGEST if kind == "dr_grpo" else 1
    torch.testing.assert_close(gradient[:, 0], -drawn.advantages / len(LENGTHS) / longest)


GSPO = (
    "algo.loss_type=grpo algo.importance_sampling_level=sequence algo.epsilon=3e-4 "
    "algo.epsilon_high=4e-4"
)


@pytest.mark.parametrize(
    ("words", "average", "token"),
    [
        (
            f"{GSPO} algo.epsilon=3e-4 algo.epsilon_high=4e-4",
            mean_of_answers,
            clipped(3e-4, 4e-4, level="sequence"),
        ),
        ("algo.epsilon=0.2 algo.epsilon_high=0.28", mean_of_tokens, clipped(0.2, 0.28)),
        ("algo.delta=1.5", mean_of_tokens, clipped(0.2, 0.2, delta=1.5)),
        ("algo.loss_type=cispo algo.epsilon_high=1.2", mean_of_tokens, cispo(1.2)),
    ],
    ids=["gspo", "clip-higher", "two-sided", "a cap"],
)
def test_bounds_by_name(words: str, average: Any, token: TokenLoss, built: Any) -> None:
    """A bound that TRL is not told of, or reads as another."""
    drawn = Drawn()
    trainer = built(f"algo=grpo algo.beta=0 algo.num_iterations=2 {words}")
    check(value_and_gradient(trainer, drawn, drawn.batch()), slow(drawn, average, (1, token)))


@pytest.mark.parametrize(("estimator", "weights"), [("k1", True), ("k2", False), ("k3", False)])
def test_kl_estimators_in_the_loss(estimator: str, weights: bool, built: Any) -> None:
    """An estimator of another name; TRL's own divergence beside it; a weight held fixed."""
    drawn = Drawn()
    knobs = f"algo.kl_estimator={estimator} algo.kl_importance_weights={weights}".lower()
    trainer = built(f"algo=grpo algo.beta=0.3 algo.num_iterations=2 {knobs}")
    kl = weighted(estimator) if weights else ESTIMATORS[estimator]
    wanted = slow(drawn, mean_of_tokens, (1, clipped(0.2, 0.2)), (0.3, kl))
    check(value_and_gradient(trainer, drawn, drawn.batch()), wanted)
    if estimator != "k3":
        mean = slow(drawn, mean_of_tokens, (1, kl))[0]
        assert trainer._metrics["train"]["kl"] == [pytest.approx(mean, rel=1e-5)]


def control(drawn: Drawn, left_out: Tensor) -> tuple[Tensor, list[Answer]]:
    """The answers with an advantage of 0 at tokens that are left out."""
    leaf, answers = drawn.answers()
    for answer, row in zip(answers, left_out.tolist(), strict=True):
        answer.advantages[:] = [
            0.0 if out else value for out, value in zip(row, answer.advantages, strict=False)
        ]
    return leaf, answers


def differentiated(leaf: Tensor, loss: Tensor) -> tuple[float, Tensor]:
    return loss.item(), torch.autograd.grad(loss, leaf)[0]


def covariance(drawn: Drawn) -> Tensor:
    wide = drawn.advantages[:, None].expand_as(drawn.new)
    return covariances(drawn.new.detach(), wide, drawn.mask)


def test_clip_cov_leaves_out_what_is_not_clipped_yet(built: Any) -> None:
    """Tokens that count in spite of it, or others; clipped ones drawn in the place of free ones."""
    drawn = Drawn()
    knobs = "algo.entropy_control=clip_cov algo.cov_share=1 algo.clip_cov_low=0.1"
    trainer = built(f"algo=grpo algo.beta=0 algo.num_iterations=2 {knobs} algo.clip_cov_high=99")
    ratio, wide = (drawn.new - drawn.old).exp(), drawn.advantages[:, None]
    clipped_already = ((ratio > 1.2) & (wide > 0)) | ((ratio < 0.8) & (wide < 0))
    left_out = (covariance(drawn) > 0.1) & ~clipped_already & drawn.mask.bool()
    assert 0 < left_out.sum() < (covariance(drawn) > 0.1).sum()
    leaf, answers = control(drawn, left_out)
    wanted = differentiated(leaf, mean_of_tokens(answers, clipped(0.2, 0.2)))
    check(value_and_gradient(trainer, drawn, drawn.batch()), wanted)
    share = trainer._metrics["train"]["tokens/left_out"][-1]
    assert share == pytest.approx(float(left_out.sum() / drawn.mask.sum()))


def test_kl_cov_holds_tokens_to_the_policy_that_sampled(built: Any) -> None:
    """A penalty on all tokens, or towards the reference."""
    drawn = Drawn()
    knobs = "algo.entropy_control=kl_cov algo.cov_share=0.3 algo.kl_cov_coefficient=0.8"
    trainer = built(f"algo=grpo algo.beta=0 algo.num_iterations=2 {knobs}")
    held = kl_cov_tokens(covariance(drawn), drawn.mask, 0.3)
    leaf, answers = drawn.answers()
    loss = mean_of_tokens(answers, clipped(0.2, 0.2))
    distance = ((leaf - drawn.old.double()).abs() * held).sum() / drawn.mask.sum()
    wanted = differentiated(leaf, loss + 0.8 * distance)
    check(value_and_gradient(trainer, drawn, drawn.batch()), wanted)


def test_a_trust_region_takes_the_clips_place(built: Any) -> None:
    """Both at once; a region around the old weights where another policy has sampled."""
    drawn = Drawn()
    words = "algo.trust_region=tv algo.trust_region_size=0.03"
    trainer = built(f"algo=grpo algo.beta=0 algo.num_iterations=2 {words}")
    batch = drawn.batch() | {"sampling_per_token_logps": drawn.reference}
    wide = drawn.advantages[:, None].expand_as(drawn.new)
    left_out = outside_trust_region(drawn.new.detach(), drawn.reference, wide, "tv", 0.03)
    assert (left_out & drawn.mask.bool()).any()
    leaf, answers = control(drawn, left_out)
    wanted = differentiated(leaf, mean_of_tokens(answers, clipped(math.inf, math.inf)))
    check(value_and_gradient(trainer, drawn, batch), wanted)


def test_entropy_and_the_off_policy_mask_by_name(built: Any) -> None:
    """A knob that TRL is not told of."""
    drawn = Drawn()
    knobs = "algo.entropy_coefficient=0.2 algo.top_entropy_quantile=0.5"
    mask = "algo.off_policy_mask_threshold=0.05"
    trainer = built(f"algo=grpo algo.beta=0 algo.num_iterations=2 {knobs} {mask}")
    entropies = drawn.entropies[drawn.mask.bool()]
    kept = (drawn.entropies >= entropies.quantile(0.5)) & drawn.mask.bool()
    drift = ((drawn.old - drawn.new.detach()) * drawn.mask).sum(1) / drawn.mask.sum(1)
    dropped = (drift > 0.05) & (drawn.advantages < 0)
    assert dropped.any() and not dropped.all()
    leaf, answers = control(drawn, ~kept | dropped[:, None])
    loss = mean_of_tokens(answers, clipped(0.2, 0.2)) - 0.2 * drawn.entropies[kept].mean()
    check(value_and_gradient(trainer, drawn, drawn.batch()), differentiated(leaf, loss))


REWARDS = [0.4, 1.0, -0.2, 0.1]


def returns(drawn: Drawn, estimator: str, beta: float) -> list[float]:
    """Each reward minus beta times the divergence of the whole answer, as it was sampled."""
    costs = []
    for old, reference, n in zip(drawn.old, drawn.reference, LENGTHS, strict=True):
        answer = Answer(old[:n].double(), [], reference[:n].tolist(), [])
        costs.append(sum(float(ESTIMATORS[estimator](answer, t)) for t in range(n)))
    return [reward - beta * cost for reward, cost in zip(REWARDS, costs, strict=True)]


def test_grpos_kl_in_the_reward(built: Any) -> None:
    """A divergence of tokens, of the scaled advantage, or once more in the loss."""
    drawn = Drawn()
    trainer = built("algo=grpo algo.beta=0.3 algo.num_iterations=2 algo.kl_in=reward")
    trainer.rewards = torch.tensor(REWARDS)
    left = returns(drawn, "k3", 0.3)
    wanted = [value - statistics.fmean(left) for value in left]
    got = trainer._penalised_advantages(drawn.batch())
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)
    loss = slow(drawn, mean_of_tokens, (1, clipped(0.2, 0.2)))
    check(value_and_gradient(trainer, drawn, drawn.batch()), loss)


@pytest.mark.parametrize(("place", "beta"), [("reward", 0.3), ("loss", 0.0)])
def test_rloos_kl_in_the_reward_or_not(place: str, beta: float, built: Any) -> None:
    """TRL's k1 in the reward as well; a baseline with the answer itself in it."""
    drawn = Drawn()
    knobs = "algo.kl_estimator=k2 algo.kl_importance_weights=false"
    trainer = built(f"algo=rloo algo.beta=0.3 algo.kl_in={place} {knobs}")
    trainer.rewards = torch.tensor(REWARDS)
    left = returns(drawn, "k2", beta)
    wanted = [value - (sum(left) - value) / 3 for value in left]
    got = trainer._own_advantages(drawn.batch())
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def rloo_loss(drawn: Drawn, estimator: str | None, weights: bool) -> tuple[float, Tensor]:
    """PPO's clip on whole answers (arXiv:2402.14740), and the mean of their divergences."""
    leaf, answers = drawn.answers()
    losses = []
    for answer in answers:
        ratio = sum(answer.new[t] - answer.old[t] for t in answer.tokens).exp()  # pyright: ignore
        advantage = answer.advantages[0]
        loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        if estimator:
            kl = sum(ESTIMATORS[estimator](answer, t) for t in answer.tokens)
            loss = loss + 0.3 * kl * (ratio if weights else 1)
        losses.append(loss)
    total = torch.stack(losses).mean()
    total.backward()
    assert leaf.grad is not None
    return total.item(), leaf.grad


@pytest.mark.parametrize(
    ("words", "estimator", "weights"),
    [
        ("", None, False),
        ("algo.kl_in=loss", "k1", True),
        ("algo.kl_in=loss algo.kl_estimator=k2 algo.kl_importance_weights=false", "k2", False),
        ("algo.kl_in=loss algo.kl_estimator=k3", "k3", True),
        ("algo.kl_in=reward algo.kl_estimator=k2", None, False),
    ],
)
def test_rloo_is_its_papers(words: str, estimator: str | None, weights: bool, built: Any) -> None:
    """A ratio of tokens; a divergence both in the reward and in the loss."""
    drawn = Drawn(spread=0.15)
    trainer = built(f"algo=rloo algo.beta=0.3 {words}")
    got = value_and_gradient(trainer, drawn, drawn.batch())
    check(got, rloo_loss(drawn, estimator, weights))
