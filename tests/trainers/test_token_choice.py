"""Tokens that GRPO leaves out of its loss or holds fast, against loops in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers.drawn_answers import (
    Drawn,
    check,
    value_and_gradient,
)
from trainers.slow_losses import (
    Answer,
    clipped,
    mean_of_tokens,
)

from rlexp.trainers.token_control import covariances, kl_cov_tokens, outside_trust_region


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
