"""A run that is killed at any moment goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from killed_runs import (
    KILLED_AT,
    SIX,
    assert_same,
    kill_when,
    logged,
    points_of,
    resume_here,
    wait_for,
)
from runs import rlexp, run_here
from tracking_spec import tracking_spec

from rlexp.builtin import tiny
from rlexp.runtime.checkpoints import complete_checkpoints, step_of
from rlexp.runtime.paths import CONF
from rlexp.tracking import Tracker


@pytest.fixture(scope="module", autouse=True)
def tiny_model() -> Path:
    return tiny.ensure_tiny_model()


@pytest.mark.parametrize(
    "algo", ["ppo", *(pytest.param(algo, marks=pytest.mark.slow) for algo in ("grpo", "dpo"))]
)
@pytest.mark.long
def test_a_killed_run_goes_on_bit_for_bit(algo: str, here: Path) -> None:
    """Anything that a checkpoint, or what is built around it, forgets: moments, the schedule, the
    sampler's place, random states; a step or a table that is told twice; an evaluation before
    training of a model that is trained already."""
    options = [f"algo={algo}", *SIX]
    killed = here / "killed"
    kill_when(killed, logged(KILLED_AT), *options, "hydra.run.dir=killed")
    assert resume_here(killed) == 0
    assert_same(killed, run_here(here / "whole", *options))


def test_mlflow_has_one_run_of_all_attempts(here: Path, tables: Path) -> None:
    """A second MLflow run, a step that is logged twice, a run that stays FAILED."""
    spec = tracking_spec(f"sqlite:///{shutil.copy(tables, here / 'mlflow.db')}")
    with pytest.raises(RuntimeError), Tracker.open(spec, here / "run") as tracker:
        for step in (1, 2, 3):
            tracker.log({"train/loss": 1 / step}, step)
        raise RuntimeError("a reward broke")
    with Tracker.open(spec, here / "run") as tracker:
        for step in (2, 3, 4):
            tracker.log({"train/loss": 1 / step}, step)
    database = sqlite3.connect(here / "mlflow.db")
    assert database.execute("select status from runs").fetchall() == [("FINISHED",)]
    points = database.execute("select step, value from metrics where key = 'train/loss'").fetchall()
    assert sorted(points) == [(step, 1 / step) for step in (1, 2, 3, 4)]
    tags = dict(database.execute("select key, value from tags"))
    assert tags["resumed"] == "1"


@pytest.mark.slow
def test_a_stopped_run_says_how_to_go_on_and_is_one_run_in_mlflow(here: Path) -> None:
    """A second MLflow run, a point of a step that is logged twice, a run that stays KILLED; a last
    line that is no command."""
    (here / "at").mkdir()
    options = [*(o for o in SIX if o != "tracking=none"), "algo=sft", "train.max_steps=40"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rlexp", *options, "hydra.run.dir=run"],
        cwd=here / "at",
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = here / "at" / "run"
    wait_for(process, folder, logged(KILLED_AT))
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    last = told.strip().splitlines()[-1]
    assert last.endswith(f"python -m rlexp resume {folder}")
    words = shlex.split(last.partition("-m rlexp ")[2])
    assert rlexp(*words, "train.max_steps=2", folder=here).returncode == 2  # fewer than it has

    done = rlexp(*words, "train.max_steps=42", folder=here)  # from elsewhere: paths are the run's
    assert done.returncode == 0, done.stderr
    assert not (here / "mlflow.db").exists()
    database = sqlite3.connect(here / "at" / "mlflow.db")
    ((run_id, status),) = database.execute("select run_uuid, status from runs").fetchall()
    assert status == "FINISHED"
    assert json.loads((folder / "card.json").read_text())["run_id"] == run_id
    of_training = "from metrics where key = 'train/loss' order by step"
    steps = [step for (step,) in database.execute(f"select step {of_training}")]
    assert steps == list(range(1, 43))
    tags = dict(database.execute("select key, value from tags"))
    assert (tags["resumed"], tags["train.max_steps"]) == ("1", "42")
    by_id = rlexp("resume", run_id[:8], folder=here / "at")
    assert by_id.returncode == 2
    assert "has finished, at step 42" in by_id.stderr


def test_a_finished_run_is_trained_for_longer(whole: Path, here: Path) -> None:
    """A first step at the old schedule's end, where the learning rate is 0; times that start from 0
    again; intervals that stay as the checkpoint has them."""
    folder = Path(shutil.copytree(whole, here / "longer"))
    longer = ["train.max_steps=9", "train.checkpoint_every=1", "eval.every=0"]
    assert resume_here(folder, *longer) == 0
    rates = {
        step: float(value[0])
        for (name, step), value in points_of(folder).items()
        if name == "train/lr"
    }
    assert list(rates) == list(range(1, 10))
    # `train/lr` is that of the step: from its peak to 0 in 9 steps, of which 6 are done.
    assert rates[7] == pytest.approx(rates[1] * 3 / 9)
    assert json.loads((folder / "card.json").read_text())["status"] == "FINISHED"
    assert [step_of(each) for each in complete_checkpoints(folder / "checkpoints")][-3:] == [
        7,
        8,
        9,
    ]
    old, new = (json.loads((each / "card.json").read_text()) for each in (whole, folder))
    for key in ("train_seconds", "total_seconds"):
        assert new[key] > old[key], key


@pytest.mark.slow
def test_two_processes_go_on_as_two(here: Path) -> None:
    """A checkpoint that is sealed before the second process has written its random state."""
    two = [*SIX, "hardware=ddp", "hardware.device=cpu", "hardware.threads=1", "eval.every=0"]
    whole = run_here(here / "whole", *two)
    assert {f.name for f in (whole / "checkpoints").glob("step-*/rng_state_*.pth")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }
    killed = here / "killed"
    kill_when(killed, logged(KILLED_AT), *two, "hydra.run.dir=killed")
    assert resume_here(killed) == 0
    assert_same(killed, whole)
