"""A sweep is one MLflow run with its trials below it, and ends as its trials ended."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rlexp.commands import sync
from rlexp.runtime.lock import lock
from rlexp.tracking.multirun import MultirunParent
from rlexp.tracking.parent_run import ParentRun

TESTS = Path(__file__).parents[1]

CONFIG = """
name: toy
fail: false
tracking: {uri: "sqlite:///store.db", experiment: sweeps, tags: {purpose: test}}
hydra:
  sweep: {dir: swept}
  job: {chdir: false}
  callbacks:
    parent: {_target_: rlexp.tracking.multirun.MultirunParent}
"""

APP = """
import os
import signal
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from tracking_spec import tracking_spec
from rlexp.tracking import Tracker
from rlexp.tracking.spool.mlflow_writer import parent_run

@hydra.main(version_base=None, config_path=".", config_name="config")
def main(config):
    settings = HydraConfig.get()
    parent = parent_run(Path(settings.sweep.dir))
    spec = tracking_spec(config.tracking.uri, experiment="sweeps")
    with Tracker.open(spec, Path(settings.runtime.output_dir), parent=parent) as tracker:
        tracker.log({"train/loss": 1.0}, 1)
        if config.fail == "kill":
            assert tracker.run_id
            os.kill(os.getpid(), signal.SIGKILL)
        if config.fail:
            raise ValueError("this trial fails")

main()
"""


@pytest.fixture
def app(tables: Path, tmp_path: Path) -> Path:
    shutil.copy(tables, tmp_path / "store.db")
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def multirun(app: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "app.py", "--multirun", *overrides],
        cwd=app,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )


def statuses(app: Path) -> tuple[str, str, list[str]]:
    """The parent's id and status, and the statuses of the runs below it, oldest first."""
    client = MlflowClient(tracking_uri=f"sqlite:///{app / 'store.db'}")
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.tags["purpose"] == "test"
    trials = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    return parent.info.run_id, parent.info.status, [run.info.status for run in trials]


@pytest.mark.long
def test_trials_stand_below_their_sweep(app: Path) -> None:
    """Without a parent, trials of all sweeps lie mixed in one list."""
    done = multirun(app, "+x=1,2")
    assert done.returncode == 0, done.stderr
    parent, status, trials = statuses(app)
    assert (status, trials) == ("FINISHED", ["FINISHED", "FINISHED"])
    assert json.loads((app / "swept" / "parent.json").read_text()) == {"run_id": parent}


@pytest.mark.long
def test_sweep_with_a_failed_trial_has_failed(app: Path) -> None:
    """Hydra leaves at once, without on_multirun_end: the parent would stay RUNNING for ever."""
    done = multirun(app, "fail=false,true")
    assert done.returncode == 1, done.stderr
    assert "this trial fails" in done.stderr
    _, status, trials = statuses(app)
    assert (status, trials) == ("FAILED", ["FINISHED", "FAILED"])


@pytest.mark.slow
@pytest.mark.long
def test_sweep_that_died_is_ended_with_its_trials(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL takes a sweep and its trial at once: both would be RUNNING for ever."""
    done = multirun(app, "fail=kill")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert statuses(app)[1:] == ("RUNNING", ["RUNNING"])
    monkeypatch.chdir(app)
    store = ["tracking.uri=sqlite:///store.db", "tracking.experiment=sweeps"]
    assert sync.run(["swept", *store]) == 0
    assert statuses(app)[1:] == ("KILLED", ["KILLED"])


@pytest.mark.slow
@pytest.mark.long
def test_two_sweeps_in_a_folder_do_not_share_a_run(app: Path) -> None:
    """The second would write its beginning and its end into the first one's spool."""
    (app / "swept").mkdir()
    with lock(app / "swept"):
        done = multirun(app, "+x=1")
    assert done.returncode == 0, done.stderr
    assert "stand alone" in done.stdout + done.stderr
    assert not (app / "swept" / "spool.jsonl").exists()


@pytest.mark.slow
@pytest.mark.long
def test_unreachable_store_does_not_stop_a_sweep(app: Path) -> None:
    """The sweep's own run is a convenience; its trials must run without it."""
    done = multirun(app, "+x=1", "tracking.uri='http://127.0.0.1:9'")
    assert done.returncode == 0, done.stderr
    assert "trials stand alone" in done.stdout + done.stderr
    assert not (app / "swept" / "parent.json").exists()
    assert (app / "swept" / "0" / "spool.jsonl").is_file()


def test_it_can_be_sent_to_the_processes_of_another_launcher(tmp_path: Path) -> None:
    """joblib and submitit send a sweep's callbacks with each trial: a lock cannot go along."""
    parent = MultirunParent()
    parent._run = ParentRun(tmp_path, "sweep", "trials")
    with parent._run._lock as held:
        held.enter_context(lock(tmp_path))
        assert isinstance(pickle.loads(pickle.dumps(parent)), MultirunParent)
