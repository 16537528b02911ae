"""Which stores can work, which may answer later, and how a fresh one is made."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from tracking_spec import tracking_spec

from rlexp.spec import UserError
from rlexp.tracking import Tracker
from rlexp.tracking.query.records import Records
from rlexp.tracking.spool.shipper import cause_of
from rlexp.tracking.spool.spool import read_events
from rlexp.tracking.store.connection import SAVED_VIEW, connect, resolve, ui_command, upload_timeout

TESTS = Path(__file__).parents[1]


@pytest.mark.long
def test_runs_that_make_the_same_store_at_once(tmp_path: Path) -> None:
    """Processes on a fresh data base crash each other when each makes the tables."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    code = (
        "import sys; from rlexp.tracking.store.connection import connect; "
        "connect(sys.argv[1], 'rlexp')"
    )
    command = [sys.executable, "-c", code, uri]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    jobs = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    errors = [job.communicate()[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], errors
    assert MlflowClient(tracking_uri=uri).get_experiment_by_name("rlexp")
    left = {path.name for path in tmp_path.iterdir()} - {"mlflow.db-shm", "mlflow.db-wal"}
    assert left == {"mlflow.db", ".mlflow.db.lock"}


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///no/such/folder/mlflow.db",
        "sqlite://mlflow.db",
        "sqlite://",
        "mlruns",
        "file:///tmp/mlruns",
        "htp://127.0.0.1:5000",
        "http://",
        "http://127.0.0.1:port",
        "postgresql:///",
    ],
)
def test_address_that_can_never_work(uri: str, tmp_path: Path) -> None:
    """Such a mistake must end the run before it begins, not leave it untracked."""
    with pytest.raises(UserError) as caught:
        Tracker.open(tracking_spec(uri), tmp_path / "run")
    (problem,) = caught.value.problems
    assert problem.key == "tracking.uri"
    assert problem.remedy


def test_relative_store_lies_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path would mean another file as soon as something changes the folder."""
    monkeypatch.chdir(tmp_path)
    absolute = resolve("sqlite:///mlflow.db")
    assert absolute == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve(absolute) == absolute
    expected = f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db --host 127.0.0.1"
    assert ui_command(absolute) == expected
    page = "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=rlexp"
    assert ui_command(absolute, "7") == f"{expected}  # http://127.0.0.1:5000/{page}"
    assert ui_command("http://host:5000/").startswith("http://host:5000/#/experiments?")
    assert ui_command("http://host:5000/", "7") == f"http://host:5000/{page}"


def test_a_store_lies_in_a_folder_of_any_name(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that go to another file, since the folder's name has what an address gives a meaning."""
    folder = tmp_path / "50% a#b?c%20 ä"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(tables, folder / "mlflow.db")
    address = resolve("sqlite:///mlflow.db")
    assert resolve(address) == address
    connect(address, "mine")
    with Records.open(address, "mine") as records:
        assert records.all() == []
    elsewhere = [path for path in tmp_path.rglob("*") if folder not in path.parents]
    assert [path for path in elsewhere if path.is_file()] == []


def test_what_was_deleted_there_is_told_with_what_brings_it_back(uri: str) -> None:
    """Advice to send events later to a run, or an experiment, that will never take them."""
    store = connect(uri, "mine")
    run = store.client.create_run(store.experiment_id).info.run_id
    store.client.delete_run(run)
    with pytest.raises(MlflowException) as caught:
        store.client.log_metric(run, "x", 1.0)
    assert f"mlflow runs restore --run-id {run}" in cause_of(caught.value)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(RuntimeError) as deleted:
        connect(uri, "mine")
    restore = f"mlflow experiments restore --experiment-id {store.experiment_id}"
    assert restore in cause_of(deleted.value)


def test_saved_view_that_someone_changed_is_left_alone(tables: Path, tmp_path: Path) -> None:
    """The next run must not undo the columns that somebody chose on MLflow's page."""
    uri = f"sqlite:///{shutil.copy(tables, tmp_path / 'mlflow.db')}"
    store = connect(uri, "rlexp")
    assert SAVED_VIEW in store.client.get_experiment(store.experiment_id).tags
    store.client.set_experiment_tag(store.experiment_id, SAVED_VIEW, "mine")
    connect(uri, "rlexp")
    assert store.client.get_experiment(store.experiment_id).tags[SAVED_VIEW] == "mine"


def test_large_file_is_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that a server passes on to slow storage would time out, again and again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    with upload_timeout(2_000_000_000):
        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 2000
    with upload_timeout(1000):
        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 5


def test_postgresql_over_a_socket(tmp_path: Path) -> None:
    """Without a host in its usual place such an address looks unfinished."""
    uri = f"postgresql://ann@/mlflow?host={tmp_path}"
    assert resolve(uri) == uri


@pytest.mark.long
def test_server_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With MLflow's defaults one call to such a server blocks for twenty minutes."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with Tracker.open(tracking_spec(uri), tmp_path / "run") as tracker:
            tracker.log({"train/loss": 1.0}, 1)
            assert tracker.run_id is None
    assert "timed out" in caplog.text
    assert "events are not in MLflow" in caplog.text
    *_, (last, _) = read_events(tmp_path / "run" / "spool.jsonl")
    assert last["status"] == "FINISHED"


def test_server_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a server the run goes on, says so once, and keeps everything in the spool."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with Tracker.open(tracking_spec(uri), tmp_path / "run") as tracker:
        tracker.log({"train/loss": 1.0}, 1)
        assert tracker.run_id is None
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("rlexp")]
    first, last = warnings
    assert [record.name for record in caplog.records if "urllib3" in record.name] == []
    assert uri in first
    assert "Connection refused" in first
    unsent = len(list(read_events(tmp_path / "run" / "spool.jsonl")))
    assert last.startswith(f"{unsent} events are not in MLflow")
    assert str(tmp_path / "run" / "spool.jsonl") in last
