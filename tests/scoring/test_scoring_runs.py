"""Whole runs whose reward is a mix of many terms: gone on with, and in several processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from killed_runs import assert_same, cut_after, points_of, resume_here
from runs import run_here, spec_of
from scored_in_parts import COLUMNS, MIX, SOURCES, SPEC, STEPS
from typed_commands import typed

from rlexp.runtime.paths import CONF
from rlexp.scoring import Scorer

SHORT = (
    "train.max_steps=4",
    "train.batch_size=8",
    "train.checkpoint_every=1",
    "train.keep_checkpoints=9",
    "data.size=80",
    "data.max_rows=20",
    "eval=quick",
    "eval.prompts=4",
    "eval.texts=0",
    "eval.bootstrap=10",
    "tracking=none",
    "hardware=cpu",
    "hardware.threads=1",
)
TERMS = (
    "reward=mix",
    "reward.normalize=zscore",
    "reward.clip=[-2,2]",
    "reward.terms.sentiment.weight=[[0,1],[4,2]]",
    "reward.terms.repetition.weight={from:0,to:1,steps:3}",
    "+reward.terms.sentiment.needs.repetition=-0.5",
    "+reward@reward.terms.length=length",
    "+reward.terms.length.weight=0.5",
    "+reward.terms.length.normalize=rank",
    "+reward@reward.terms.mine=python",
    "+reward.terms.mine.weight=0.5",
    "reward.terms.mine.function=fragile:score",
    "scoring.on_error=missing",
    "scoring.max_missing=1",
)
FRAGILE = """
def score(completions):
    return [None if "plot" in text else 1 / ("cast" not in text) for text in completions]
"""


@pytest.mark.parametrize(
    "algo",
    [
        ("algo=reinforce",),
        pytest.param(("algo=grpo", "algo.num_generations=4"), marks=pytest.mark.slow),
        pytest.param(("algo=online_dpo",), marks=pytest.mark.slow),
        pytest.param(("algo=dpo",), marks=pytest.mark.slow),
    ],
    ids=lambda algo: algo[0],
)
@pytest.mark.long
def test_a_mix_goes_on_bit_for_bit(
    algo: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments or schedules that begin anew after a stop, and evaluations on another scale then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "fragile.py").write_text(FRAGILE, encoding="utf-8")
    whole = run_here(tmp_path / "whole", *SHORT, *algo, *TERMS)
    killed = cut_after(whole, tmp_path / "killed", 2)
    assert resume_here(killed) == 0
    sys.modules.pop("fragile", None)
    assert_same(killed, whole)
    names = {name for name, _ in points_of(whole)}
    assert {f"eval/reward_{term}" for term in ("sentiment", "mine", "mine_missing")} <= names
    if algo == ("algo=dpo",):
        return
    assert {f"rollout/reward_{term}" for term in ("length", "mine", "mine_missing")} <= names
    (kept,) = (whole / "checkpoints").glob("step-000004/reward.json")
    moments = json.loads(kept.read_text(encoding="utf-8"))
    counts = {name: saved["count"] for name, saved in moments.items()}
    assert counts["sentiment"] == counts["repetition"] >= 32
    assert 0 < counts["mine"] < counts["sentiment"]


@pytest.mark.long
def test_processes_score_as_one_does() -> None:
    """Moments, ranks and means of a process's own part; an error that only one process knows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = os.pathsep.join([str(CONF.parent), str(Path(__file__).parent)])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "scored_in_parts.py")],
            env={
                **os.environ,
                **group,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "PYTHONPATH": paths,
                "ACCELERATE_USE_CPU": "true",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    reports = [json.loads(output.splitlines()[-1]) for output in outputs]
    alone = Scorer(MIX, SPEC, sources=SOURCES)
    for step in range(STEPS):
        columns = {name: values[step] for name, values in COLUMNS.items()}
        scored = alone.train(["p"] * 8, ["c"] * 8, columns, step)
        assert reports[0]["totals"][step] + reports[1]["totals"][step] == scored.totals
        for report in reports:
            metrics = report["metrics"][step]
            metrics = {k: v for k, v in metrics.items() if not k.startswith("perf/")}
            assert metrics == {k: scored.metrics[k] for k in metrics}
    assert reports[0]["state"] == reports[1]["state"] == alone.state()
    assert reports[0]["error"] == reports[1]["error"]
    assert "7 of 8 values of the reward's term a are missing" in reports[0]["error"]


def test_mistakes_are_told_before_anything_is_loaded(tmp_path: Path) -> None:
    """The first of many mistakes; one that is found when the model has been loaded."""
    mistakes = (
        "reward.terms.sentiment.weight=[[5,1],[2,1]]",
        "reward.terms.repetition.weight={from:1,too:2,steps:5}",
        "+reward.terms.sentiment.clip=[1,-1]",
        "+reward.terms.sentiment.needs.repetitoin=0",
        "+reward.terms.repetition.normalize=z",
        "reward.normalize=rnak",
        "scoring.on_error=zero",
        "scoring.max_missing=2",
    )
    done = typed("reward=mix", *mistakes, folder=tmp_path)
    assert done.returncode == 2
    for message in (
        "reward.terms.sentiment.weight: got [[5, 1], [2, 1]]",
        "reward.terms.repetition.weight: got {'from'",
        "reward.terms.sentiment.clip: got [1, -1]",
        "reward.terms.sentiment.needs.repetitoin: got no term of the mix",
        "Did you mean repetition?",
        "reward.normalize: got 'rnak'",
        "Did you mean rank?",
        "reward.terms.repetition.normalize: got 'z'",
        "scoring.on_error: got 'zero'",
        "scoring.max_missing: got 2",
    ):
        assert message in done.stderr, done.stderr


def test_importing_a_mix_loads_nothing_heavy() -> None:
    """Workers of a gigabyte each, and mistakes that take seconds to be told."""
    code = "import sys, rlexp.rewards.mix, rlexp.scoring.worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert spec_of("reward=mix").scoring.on_error == "stop"
