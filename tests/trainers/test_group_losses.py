"""Every loss of GRPO and RLOO, as runs configure it, against loops in float64 from the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers.drawn_answers import (
    LENGTHS,
    LONGEST,
    Drawn,
    check,
    slow,
    value_and_gradient,
)
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
            GSPO,
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
