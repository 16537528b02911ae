"""How much is open: closed forms by step, and what a reward opens when."""

from __future__ import annotations

import json
import math

import pytest

from rlexp.curriculum.pace import Competence, RewardPacer, pacer_of
from rlexp.spec.curriculum import Pace

PACE = {
    "by": "step",
    "start": 0.2,
    "schedule": "root",
    "steps": None,
    "parts": 4,
    "threshold": 0.5,
    "window": 2,
    "patience": None,
}


def test_competence_is_the_papers() -> None:
    """Another formula than equations 6 and 7 of arXiv:1903.09848."""
    for step in range(12):
        linear = min(1.0, step * (1 - 0.1) / 8 + 0.1)
        root = min(1.0, math.sqrt(step * (1 - 0.1**2) / 8 + 0.1**2))
        assert Competence(0.1, 8, power=1).share(step) == pytest.approx(linear)
        assert Competence(0.1, 8, power=2).share(step) == pytest.approx(root)


def test_all_is_open_at_half_of_the_training() -> None:
    """A pace without steps that never comes to its end."""
    pacer = pacer_of(Pace.model_validate(PACE), max_steps=21)
    assert pacer.share(10) < 1 == pacer.share(11)


def heard(pacer: RewardPacer, rewards: list[float], steps_a_batch: int = 1) -> list[float]:
    """The share that is open at each step, while rewards come in after it."""
    shares = []
    for batch, reward in enumerate(rewards):
        for step in range(batch * steps_a_batch, (batch + 1) * steps_a_batch):
            shares.append(pacer.share(step))
            if step % steps_a_batch == 0:  # the answers are sampled, and scored, once a batch
                pacer.observe(step + 1, reward, steps_a_batch)
    return shares


def test_a_part_is_opened_once_the_window_has_earned_enough() -> None:
    """One good step taken for a window; the rewards of old rows counted for the new part."""
    pacer = RewardPacer(0.2, 4, 0.5, window=2, patience=None)
    shares = heard(pacer, [0.0, 0.9, 0.0, 0.6, 0.9, 0.9, 0.9, 0.9, 0.9])
    # means over two: .45 .45 .3 .75 -> opened by the 5th, drawn from at the second step after it;
    # the 6th step still had the old rows, so that the next two are the 7th and the 8th
    assert shares == pytest.approx([0.2] * 6 + [0.4] * 3)
    assert pacer.openings == [6, 9]


def test_patience_opens_without_reward_and_nothing_opens_beyond_all() -> None:
    """A training that stays with its first rows for ever; a share above 1."""
    pacer = RewardPacer(0.5, 2, 9.0, window=3, patience=2)
    assert heard(pacer, [0.0] * 12)[-1] == 1.0
    assert pacer.openings == [3, 6]
    assert RewardPacer(0.5, 2, 9.0, window=3, patience=None).share(99) == 0.5


def test_an_opening_falls_between_batches_of_rollouts() -> None:
    """New rows in the middle of the passes over a batch."""
    pacer = RewardPacer(0.2, 4, 0.5, window=1, patience=None)
    shares = heard(pacer, [0.9, 0.0, 0.0, 0.9], steps_a_batch=3)
    assert shares == pytest.approx([0.2] * 6 + [0.4] * 6)
    assert pacer.openings == [6, 15]


def test_a_checkpoint_keeps_what_is_open_and_why() -> None:
    """A pace that starts again, or whose window is empty, after a stop."""
    rewards = [0.1, 0.8, 0.7, 0.3, 0.9, 0.6, 0.55, 0.2, 0.9, 0.9]
    whole = RewardPacer(0.2, 9, 0.5, window=2, patience=3)
    heard(whole, rewards)
    for cut in range(len(rewards)):
        before = RewardPacer(0.2, 9, 0.5, window=2, patience=3)
        heard(before, rewards[:cut])
        after = RewardPacer(0.2, 9, 0.5, window=2, patience=3)
        after.load_state(json.loads(json.dumps(before.state())))
        for step in range(cut, len(rewards)):
            after.observe(step + 1, rewards[step], 1)
        assert after.state() == whole.state()
