"""A run is given up through the reporter that its launcher hands in, and through nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
import yaml
from runs import SHORT, composed

from rlexp.launch.launcher import launch
from rlexp.runner.pruning import PRUNED
from rlexp.runtime.run_folder import CARD, CONFIG, SPOOL
from rlexp.spec.errors import Pruned
from rlexp.spec.run import RunSpec
from rlexp.sweep.driver import sweep_spec
from rlexp.sweep.study import open_study
from rlexp.sweep.trial import run_trial


class Reporter:
    """Gives a run up at a step, and keeps what it was told."""

    def __init__(self, metric: str, prunes_at: int) -> None:
        self.metric, self.prunes_at = metric, prunes_at
        self.reports: list[tuple[int, float]] = []

    def report(self, step: int, value: float) -> bool:
        self.reports.append((step, value))
        return step >= self.prunes_at

    def to_config(self) -> dict[str, object]:
        raise AssertionError("one process needs no other reporter")


def launched(folder: Path, reporter: Reporter) -> None:
    config = composed("algo=sft", *SHORT, "train.max_steps=4", "eval.every=1", "data.size=80")
    folder.mkdir()
    (folder / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
    launch(RunSpec.parse(config), folder, None, reporter=reporter)


@pytest.mark.long
def test_a_run_is_given_up_when_its_reporter_says_so(tmp_path: Path) -> None:
    """A run that trains on, or reports another metric, or keeps checkpoints, or looks finished."""
    reporter = Reporter("eval/reward", prunes_at=2)
    with pytest.raises(Pruned) as caught:
        launched(tmp_path / "run", reporter)
    assert caught.value.step == 2
    card = json.loads((tmp_path / "run" / CARD).read_text(encoding="utf-8"))
    assert card["status"] == "KILLED"
    lines = (tmp_path / "run" / SPOOL).read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["step"] for e in events if e.get("event") == PRUNED] == [2]
    rewards = {
        e["step"]: e["metrics"]["eval/reward"]
        for e in events
        if e["kind"] == "metrics" and "eval/reward" in e["metrics"]
    }
    assert reporter.reports == [(step, rewards[step]) for step in (1, 2)]
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.long
def test_a_metric_of_the_end_is_not_reported_before_it(tmp_path: Path) -> None:
    """A sweep over costs, whose trials fail since no evaluation knows their objective."""
    reporter = Reporter("perf/train_seconds", prunes_at=0)
    launched(tmp_path / "run", reporter)
    assert reporter.reports == []


@pytest.mark.slow
@pytest.mark.long
def test_a_trial_in_two_processes_is_pruned_by_its_study(tmp_path: Path) -> None:
    """A study that processes of a run cannot reach; an end that is a failure to whoever launched.

    Another trial of the study was better by far at the first step.
    """
    sweep = sweep_spec(
        composed(
            "sweep=optuna",
            f"sweep.folder={tmp_path}",
            "sweep.pruner.n_startup_trials=1",
            "sweep.n_jobs=1",
        )["sweep"]
    )
    study = open_study(sweep, {})
    values = dict.fromkeys(range(1, 5), 10.0)
    better = optuna.create_trial(value=10.0, intermediate_values=values)
    study.add_trial(better)
    config = composed("algo=sft", *SHORT, "train.max_steps=4", "eval.every=1", "data.size=80")
    config["hardware"]["processes"] = 2
    folder = tmp_path / str(study.ask().number)
    folder.mkdir()
    (folder / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
    assert run_trial(config, folder, sweep, 1) is None
    assert study.trials[1].state == optuna.trial.TrialState.PRUNED
    assert list(study.trials[1].intermediate_values) == [1]
    assert json.loads((folder / CARD).read_text(encoding="utf-8"))["status"] == "KILLED"
