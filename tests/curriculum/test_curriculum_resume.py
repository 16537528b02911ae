"""A run with a curriculum that was killed draws what it would have drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from killed_runs import SIX, assert_same, cut_after, points_of, resume_here
from runs import run_here

from rlexp.builtin import tiny

SMALLER = ("train.max_steps=5", "train.batch_size=8", "eval.every=0", "train.keep_checkpoints=9")
GROUPS = ("algo.num_generations=2", "algo.max_completion_length=8")
PACED = (
    "curriculum=reward_paced",
    "curriculum.pace.threshold=-9",
    "curriculum.pace.window=1",
    "curriculum.pace.parts=3",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["algo=grpo", *GROUPS, *PACED, "algo.dynamic_sampling=1", "reward=keyword"],
        ["algo=ppo", *PACED, "algo.max_completion_length=8"],
        pytest.param(["algo=sft", "curriculum=length"], marks=pytest.mark.slow),
        pytest.param(["algo=kto", "curriculum=length"], marks=pytest.mark.slow),
        pytest.param(["algo=rloo", *GROUPS, "curriculum=length", "algo.dynamic_sampling=1"],
                     marks=pytest.mark.slow),
        pytest.param(["algo=online_dpo", *PACED], marks=pytest.mark.slow),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_killed_run_draws_the_rows_of_a_whole_one(words: list[str], here: Path) -> None:
    """A pace that starts again; rows of the first steps once more; prompts replaced by others."""
    tiny.ensure_tiny_model()
    whole = run_here(here / "whole", *SIX, *SMALLER, *words)
    killed = cut_after(whole, here / "killed", step=3)
    assert resume_here(killed) == 0
    assert_same(killed, whole)
    told = {name for name, _ in points_of(whole)}
    assert "train/curriculum_share" in told
    if "algo.dynamic_sampling=1" in words:
        assert {"rollout/uniform_groups", "rollout/replaced_groups"} <= told
    if set(PACED) & set(words):
        state = whole / "checkpoints" / "step-000004" / "curriculum.json"
        assert json.loads(state.read_text(encoding="utf-8"))["openings"] == [2, 4]
