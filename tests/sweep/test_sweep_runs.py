"""Sweeps of real runs: pruned ones, killed ones, and what MLflow shows of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from runs import rlexp
from small_sweeps import dpo_sweep, ended, study_in
from toy_sweeps import until

pytestmark = pytest.mark.slow


def mlflow_runs(folder: Path) -> dict[str, Any]:
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rlexp")
    assert experiment
    return {str(run.info.run_name): run for run in client.search_runs([experiment.experiment_id])}


def test_a_hopeless_run_is_pruned(tmp_path: Path) -> None:
    """A pruned run that trains on, keeps its checkpoints, or looks like a finished one."""
    pruner = ["sweep.pruner._target_=optuna.pruners.ThresholdPruner", "+sweep.pruner.lower=2"]
    gone = [f"~sweep.pruner.{name}" for name in ("n_startup_trials", "n_min_trials")]
    output = ended(dpo_sweep(tmp_path, "sweep.n_trials=1", *pruner, *gone))
    assert "trial 0      pruned at step 2" in output
    (trial,) = study_in(tmp_path).trials
    assert trial.state.name == "PRUNED" and list(trial.intermediate_values) == [2]
    folder = tmp_path / "multirun" / "dpo_basics" / "0"
    assert not (folder / "checkpoints").exists()
    assert json.loads((folder / "card.json").read_text())["status"] == "KILLED"
    runs = mlflow_runs(tmp_path)
    child, parent = runs["trial-000"], runs["dpo_basics"]
    assert (child.info.status, child.data.tags["state"]) == ("KILLED", "PRUNED")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "error" not in child.data.tags
    assert parent.info.status == "FINISHED" and parent.data.metrics["sweep/pruned"] == 1
    assert parent.data.params["space.algo.beta"] == "choice(0.5,1.0)"


def test_a_killed_trial_goes_on_from_its_checkpoint_to_the_same_score(tmp_path: Path) -> None:
    """A trial that begins again, that comes to another score, or that is another MLflow run."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    options = ["sweep/pruner=none", "sweep.n_trials=1", "train.max_steps=12"]
    ended(dpo_sweep(whole, *options))
    sweeper = dpo_sweep(broken, *options)
    folder = broken / "multirun" / "dpo_basics" / "0"
    until(lambda: (folder / "checkpoints" / "step-000004").is_dir(), 200)
    (trial,) = study_in(broken).trials
    sweeper.kill()
    sweeper.wait()
    os.kill(trial.user_attrs["owner"]["pid"], signal.SIGKILL)
    ended(dpo_sweep(broken, *options))
    (again,) = study_in(broken).trials
    assert again.state.name == "COMPLETE" and again.values == study_in(whole).trials[0].values
    assert "on from step-0000" in (folder / "output.log").read_text()
    assert {name: run.info.status for name, run in mlflow_runs(broken).items()} == {
        "dpo_basics": "FINISHED",
        "trial-000": "FINISHED",
    }


def test_a_finished_run_that_the_study_was_not_told_of_is_not_run_again(tmp_path: Path) -> None:
    """An hour of training for a result that lies in the folder."""
    options = ["tracking=none", "sweep/pruner=none", "sweep.n_trials=1"]
    ended(dpo_sweep(tmp_path, *options))
    study = study_in(tmp_path)
    (before,) = study.trials
    with sqlite3.connect(tmp_path / "multirun/dpo_basics/study.db") as data_base:
        data_base.execute("UPDATE trials SET state = 'WAITING'")
    card = tmp_path / "multirun/dpo_basics/0/card.json"
    written = card.stat().st_mtime_ns
    ended(dpo_sweep(tmp_path, *options))
    (after,) = study_in(tmp_path).trials
    assert after.values == before.values and card.stat().st_mtime_ns == written


def test_a_plain_multirun_keeps_hydras_own_sweeper(tmp_path: Path) -> None:
    """A study where somebody only wanted two seeds."""
    plain = rlexp("seed=1", "--cfg", "hydra", folder=tmp_path).stdout
    assert "BasicSweeper" in plain and "rlexp_sweeper" not in plain
