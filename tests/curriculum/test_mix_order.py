"""A mix of data sets and the order of its rows: shares by step, in the words of either."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from killed_runs import SIX, assert_same, cut_after, points_of, resume_here
from mixes import demonstrations, mix_of
from runs import SHORT, problems_of, run_here, spec_of

from rlexp.builtin import tiny
from rlexp.curriculum.batches import BatchShape
from rlexp.data.load import load_data
from rlexp.runner.curriculum.building import build_curriculum

MOVING = {"a": "[[0,3],[4,1]]", "b": 1}
REWARD = """
import json
from pathlib import Path

def score(prompts, completions, source, level=None):
    with Path("drawn.jsonl").open("a") as file:
        file.write(json.dumps([source, level]) + "\\n")
    return [float(len(text)) for text in completions]
"""


def batches_of(words: list[str], size: int, steps: int) -> list[list[dict[str, Any]]]:
    """The rows of the batches of so many steps."""
    spec = spec_of("algo=sft", "reward=none", *words)
    rows = load_data(spec.data, "demonstrations").train
    rows, curriculum, _ = build_curriculum(spec, rows, None)  # pyright: ignore[reportArgumentType]
    assert curriculum is not None
    order = curriculum.order(BatchShape(size))
    return [[rows[place] for place in order.rows_at(step)] for step in range(steps)]


def counts(batches: list[list[dict[str, Any]]], column: str = "source") -> list[tuple[int, int]]:
    tallies = [Counter(row[column] for row in batch) for batch in batches]
    return [(tally["a"], tally["b"]) for tally in tallies]


def test_each_step_has_the_weights_shares(tmp_path: Path) -> None:
    """Shares by the number of rows; a schedule that is a step late; shares met on average only."""
    rows = {"a": demonstrations("A", 300), "b": demonstrations("B", 30)}
    drawn = batches_of(mix_of(tmp_path, MOVING, **rows), 8, 6)
    assert counts(drawn)[0] == (6, 2) and counts(drawn)[4:] == [(4, 4), (4, 4)]
    shares = [3 / 4, 2.5 / 3.5, 2 / 3, 1.5 / 2.5, 1 / 2, 1 / 2]
    for step in range(1, 7):
        of_a = sum(a for a, _ in counts(drawn[:step]))
        assert of_a == pytest.approx(8 * sum(shares[:step]), abs=1)


def test_a_small_source_repeats_pass_by_pass(tmp_path: Path) -> None:
    """Rows of a small source that come twice before others come once; sources drawn in a row."""
    rows = {"a": demonstrations("A", 300), "b": demonstrations("B", 16)}
    drawn = batches_of(mix_of(tmp_path, None, **rows), 8, 12)
    of_b = [row["prompt"] for batch in drawn for row in batch if row["source"] == "b"]
    assert len(of_b) == 48
    for batches in range(1, 13):
        times = Counter(of_b[: 4 * batches])
        assert batches < 5 or max(times.values()) - min(times.values()) <= 1
    assert len(times) < 16
    assert any(batch[0]["source"] != batch[1]["source"] for batch in drawn)


def test_a_mixture_of_a_column_draws_as_the_mix_does(tmp_path: Path) -> None:
    """Two mechanisms that drift apart: the same weights, said of a column and of sources."""
    both = [*demonstrations("A", 60, kind="a"), *demonstrations("B", 60, kind="b")]
    path = tmp_path / "both.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in both), encoding="utf-8")
    weights = [f"+curriculum.weights.{name}={weight}" for name, weight in MOVING.items()]
    column = ["curriculum=mixture", "curriculum.column=kind", *weights]
    of_column = batches_of(["data=file", f"data.path={path}", *column], 8, 5)
    rows = {"a": demonstrations("A", 60), "b": demonstrations("B", 60)}
    assert counts(of_column, "kind") == counts(batches_of(mix_of(tmp_path, MOVING, **rows), 8, 5))


def test_what_else_would_decide_the_order_is_refused(tmp_path: Path) -> None:
    """Weights that packing makes meaningless; two schedules of one thing."""
    words = mix_of(tmp_path, a=demonstrations("A", 60), b=demonstrations("B", 60))
    packed = problems_of("algo=sft", "reward=none", *words, "algo.packing=true")
    assert "data=mix" in packed["algo.packing"]
    twice = ("curriculum=mixture", "+curriculum.weights.a=1")
    assert list(problems_of("algo=sft", *words, *twice)) == ["curriculum.weights"]


@pytest.mark.long
def test_a_run_draws_by_the_weights_and_tells_by_source(here: Path) -> None:
    """Weights that a trainer's own sampler forgets; a card that says nothing of the sources."""
    (here / "drawing_reward.py").write_text(REWARD, encoding="utf-8")
    rows = {
        "a": [
            {"text": f"This film {n} was fine and I liked it a lot.", "level": n} for n in range(60)
        ],
        "b": [{"prompt": f"A film {n}", "completion": " was long."} for n in range(60)],
    }
    words = [*mix_of(here, {"a": "[[0,3],[1,1]]"}, **rows), "reward=python", "algo=grpo"]
    more = ("reward.function=drawing_reward:score", "algo.num_generations=2", "scoring.probe=off")
    run_here(here / "run", *SHORT, *words, *more, "train.max_steps=2", "scoring.workers=0",
             "algo.rollout=fast")  # fmt: skip
    calls = [json.loads(line) for line in (here / "drawn.jsonl").read_text().splitlines()]
    trained = [Counter(source) for source, _ in calls if len(source) == 8]
    assert {"a": 6, "b": 2} in trained and {"a": 4, "b": 4} in trained
    assert all(
        (level is None) == (name == "b")
        for pair in calls
        for name, level in zip(*pair, strict=True)
    )
    card = json.loads((here / "run" / "card.json").read_text(encoding="utf-8"))
    slices = {(part["by"], part["value"]): part["prompts"] for part in card["slices"]}
    assert slices["source", "a"] == slices["source", "b"] == 4
    assert {"source_reward_a", "source_perplexity_b"} <= set(card["after"])
    assert any(note.startswith("a: 62.5% of what is trained on") for note in card["notes"])
    spool = (here / "run" / "spool.jsonl").read_text(encoding="utf-8")
    assert "rollout/source_reward_a" in spool and "rollout/source_reward_b" in spool
    share = {
        step: value for (name, step), value in points_of(here / "run").items() if "share_a" in name
    }
    assert share == {1: ["0.75"], 2: ["0.5"]}


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["sft", "ppo"])
def test_a_killed_run_goes_on_with_the_rows_of_the_mix(algo: str, here: Path) -> None:
    """Shares that are owed from the beginning once more; passes over a source that start again."""
    tiny.ensure_tiny_model()
    rows = {"a": demonstrations("This", 20), "b": demonstrations("That", 60)}
    words = [*mix_of(here, MOVING, **rows), f"algo={algo}", "train.batch_size=8", "eval.every=0"]
    six = [word for word in SIX if not word.startswith("data.")]
    whole = run_here(here / "whole", *six, *words, "train.keep_checkpoints=9")
    killed = cut_after(whole, here / "killed", step=3)
    assert resume_here(killed) == 0
    assert_same(killed, whole)
