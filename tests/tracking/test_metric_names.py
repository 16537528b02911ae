"""Metric names: one slash each, whatever a trainer calls its metrics."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path

import pytest

from rlexp.tracking.metric_names import tracked_metrics, tracked_name

ALLOWED = re.compile(r"(train|rollout|eval|perf|system|sweep)/[\w.-]+")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss", "train/loss"),
        ("learning_rate", "train/lr"),
        ("reward", "rollout/reward"),
        ("rewards/sentiment/mean", None),
        ("rewards/sentiment/std", None),
        ("reward_length", "rollout/reward_length"),
        ("rewards/chosen", "train/reward_chosen"),
        ("rewards/margins", "train/reward_margin"),
        ("completions/mean_length", "rollout/length"),
        ("clip_ratio/high_mean", "train/clip_high_mean"),
        ("num_tokens", "perf/tokens"),
        ("eval_rewards/margins", "eval/rewards_margins"),
        ("rollout/advantage_std", "rollout/advantage_std"),
        ("reward_a (b)", "rollout/reward_a_b"),
        ("something/new/(max)", "train/something_new_max"),
        ("epoch", None),
    ],
)
def test_names(name: str, expected: str | None) -> None:
    """DPO's `rewards/chosen` is no reward term, parentheses make MLflow refuse a batch, and TRL's
    only reward function is the reward itself, which must not be shown twice."""
    assert tracked_name(name, sampled=True) == expected


def test_kl_and_entropy_belong_to_the_rollout_only_where_there_is_one() -> None:
    """SFT's entropy is that of the data's answers, not of samples."""
    assert tracked_metrics({"kl": 0.1, "reward": 1.0}) == {"rollout/kl": 0.1, "rollout/reward": 1.0}
    assert tracked_metrics({"entropy": 2.0, "loss": 1.0}) == {
        "train/entropy": 2.0,
        "train/loss": 1.0,
    }


def test_values_that_are_no_numbers_stay_out() -> None:
    """A text among the logs must not stop the training."""
    assert tracked_metrics({"loss": 1, "note": "text", "nothing": None}) == {"train/loss": 1.0}


def test_nan_is_kept_for_the_spool() -> None:
    """A diverged loss has to be seen in MLflow."""
    assert math.isnan(tracked_metrics({"loss": math.nan})["train/loss"])


def test_every_name_in_trl_is_taken_by_mlflow_and_by_the_charts() -> None:
    """A metric that a new TRL adds must not arrive with two slashes, or twice under one name."""
    package = importlib.util.find_spec("trl")
    assert package and package.submodule_search_locations
    trainers = Path(package.submodule_search_locations[0]) / "trainer"
    names = set()
    for file in trainers.glob("*_trainer.py"):
        names |= set(re.findall(r'_metrics\[[^]]+\]\["([^"]+)"\]', file.read_text()))
    assert len(names) > 40
    renamed = [tracked_name(name, sampled=True) for name in names]
    assert [name for name in renamed if name and not ALLOWED.fullmatch(name)] == []
    # Two trainers may call the same thing differently; one trainer has only one of the two.
    twice = {name for name in renamed if renamed.count(name) > 1}
    assert twice <= {"train/reward_margin"}
