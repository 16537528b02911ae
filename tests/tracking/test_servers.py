"""Real servers that hang, fail, lose answers or want a password: nothing is lost, nothing twice."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from told_runs import FIVE, losses, only_run, told
from tracking_servers import Gateway, Server, served
from tracking_spec import tracking_spec

from rlexp.runtime.run_folder import SENT, SPOOL
from rlexp.spec import UserError
from rlexp.tracking import Tracker
from rlexp.tracking.spool.shipper import FilesDeferred, Shipper
from rlexp.tracking.spool.spool import Spool, UploadState

pytestmark = pytest.mark.long
PASSWORD = "pa55-w0rd-of-the-server"


@pytest.fixture(scope="module")
def server(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with served(f"sqlite:///{shutil.copy(tables, folder / 'server.db')}", folder) as running:
        yield running


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return request.node.name


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    with Gateway(server.port).open() as opened:
        yield opened


def test_frozen_server_holds_nobody_up(
    server: Server, tmp_path: Path, experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that hangs in the middle of a run: it ends, and says how to send the rest."""
    spec = tracking_spec(server.uri, experiment=experiment)
    with Tracker.open(spec, tmp_path / "run") as tracker:
        assert tracker.run_id
        server.tell(signal.SIGSTOP)
        for step in range(5):
            tracker.log({"train/loss": step / 8}, step)
    try:
        assert f"python -m rlexp sync {tmp_path / 'run'}" in caplog.text
    finally:
        server.tell(signal.SIGCONT)
    Shipper(tmp_path / "run", server.uri, experiment).ship()
    run = only_run(server.uri, experiment)
    assert run.info.status == "FINISHED"
    assert losses(server.uri, run) == FIVE


@pytest.mark.parametrize("fault", ["error", "missing"])
def test_failing_server_loses_nothing(
    fault: str, gateway: Gateway, tmp_path: Path, experiment: str
) -> None:
    """A gateway's 404 looks like MLflow's `no such endpoint`, which means: drop the event."""
    folder = told(tmp_path / "run")
    shipper = Shipper(folder, gateway.uri, experiment)
    failures = 0
    while shipper.pending():
        gateway.fault, gateway.spared = fault, 3 + failures
        try:
            shipper.ship()
        except Exception:
            failures += 1
    gateway.fault = None
    assert failures > 3
    run = only_run(gateway.uri, experiment)
    assert losses(gateway.uri, run) == FIVE
    assert UploadState.load(folder / SENT).refused == 0
    assert run.info.status == "FINISHED"


def test_artifact_store_that_is_away_holds_nothing_else_up(
    gateway: Gateway, tmp_path: Path, experiment: str
) -> None:
    """The first files are told before the first metric: all of the run would wait for them."""
    folder = told(tmp_path / "run")
    shipper = Shipper(folder, gateway.uri, experiment)
    gateway.fault, gateway.only = "error", "mlflow-artifacts"
    for _ in range(2):
        with pytest.raises(FilesDeferred):
            shipper.ship()
    run = only_run(gateway.uri, experiment)
    assert (losses(gateway.uri, run), run.info.status) == (FIVE, "FINISHED")
    client = MlflowClient(tracking_uri=gateway.uri)
    assert shipper.pending() > 1
    gateway.fault = None
    Shipper(folder, gateway.uri, experiment).ship()
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {SPOOL, "packages.txt"} <= names
    assert UploadState.load(folder / SENT).aside == ()


@pytest.mark.parametrize("request_", ["runs/create", "logged-models", "log-batch", "outputs"])
def test_answer_that_is_lost_doubles_nothing(
    request_: str,
    gateway: Gateway,
    tmp_path: Path,
    experiment: str,
) -> None:
    """The server has done what it was asked, and nobody knows: asked again, it does it twice."""
    folder = told(tmp_path / "run")
    shipper = Shipper(folder, gateway.uri, experiment)
    gateway.fault, gateway.only = "lose", request_
    with pytest.raises(MlflowException):
        shipper.ship()
    assert gateway.lost.is_set()
    gateway.fault = None
    shipper.ship()
    run = only_run(gateway.uri, experiment)
    assert losses(gateway.uri, run) == FIVE
    client = MlflowClient(tracking_uri=gateway.uri)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert [(m.key, m.step) for m in model.metrics or []] == [("eval/reward", 4)]


def test_run_that_a_server_made_late_goes(server: Server, tmp_path: Path, experiment: str) -> None:
    """A frozen server carries out, once it goes on, a request that has been made again since."""
    folder = told(tmp_path / "run")
    shipper = Shipper(folder, server.uri, experiment)
    shipper.ship()
    run = only_run(server.uri, experiment)
    client = MlflowClient(tracking_uri=server.uri)
    late = client.create_run(run.info.experiment_id, tags=run.data.tags)
    copy = client.create_run(run.info.experiment_id, tags=run.data.tags)
    client.log_param(copy.info.run_id, "kept", "by somebody")
    client.create_logged_model(
        run.info.experiment_id, name="step-000004-toy-run", source_run_id=run.info.run_id
    )
    with (folder / SPOOL).open("a") as spool:
        spool.write('{"t": 1, "kind": "end", "status": "FINISHED"}\n')
    shipper.ship()
    deleted = client.search_runs([run.info.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert [each.info.run_id for each in deleted] == [late.info.run_id]
    assert len(client.search_logged_models([run.info.experiment_id])) == 1


@pytest.mark.parametrize("note", ["kept", "ruined"])
def test_steps_told_again_after_a_power_cut(
    note: str, server: Server, tmp_path: Path, experiment: str
) -> None:
    """A run that goes on repeats the steps that its spool lost, at other times, hence as others."""
    folder = told(tmp_path / "run")
    Shipper(folder, server.uri, experiment).ship()
    path = folder / SPOOL
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if note == "ruined":
        (folder / SENT).write_bytes(b"")
    with Tracker.open(tracking_spec(None), folder) as tracker:
        for step in range(7):
            tracker.log({"train/loss": step / 8}, step)
        tracker.checkpoint(4, folder / "checkpoints" / "step-000004", {"eval/reward": 0.5})
    Shipper(folder, server.uri, experiment).ship()
    run = only_run(server.uri, experiment)
    assert losses(server.uri, run) == [(step, step / 8) for step in range(7)]
    client = MlflowClient(tracking_uri=server.uri)
    assert len(client.get_metric_history(run.info.run_id, "eval/reward")) == 1


def test_weights_that_were_removed_are_marked(
    server: Server, tmp_path: Path, experiment: str
) -> None:
    """The Models table would go on to name a folder that is no longer there."""
    folder = tmp_path / "run"
    told(folder)
    spool = Spool(folder / SPOOL)
    gone = {"t": 5, "kind": "removed", "path": "moved/checkpoints/step-000004"}
    spool.append(gone)
    spool.append({**gone, "path": "checkpoints/step-000001"})
    Shipper(folder, server.uri, experiment).ship()
    client = MlflowClient(tracking_uri=server.uri)
    run = only_run(server.uri, experiment)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert model.tags["weights"] == "removed"
    spool.append(
        {"t": 6, "kind": "checkpoint", "step": 4, "name": model.name, "path": "p", "metrics": {}}
    )
    Shipper(folder, server.uri, experiment).ship()
    assert "weights" not in client.get_logged_model(model.model_id).tags


def test_server_that_wants_a_password(
    server: Server,
    tmp_path: Path,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sent by MLflow's own variables, it must get in, and be seen by nobody."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    with Gateway(server.port, login=("ann", PASSWORD)).open() as gateway:
        spec = tracking_spec(gateway.uri, experiment=experiment)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"not-{PASSWORD}")
        with Tracker.open(spec, tmp_path / "locked out") as tracker:
            assert tracker.run_id is None
        assert "401" in caplog.text
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        with Tracker.open(spec, tmp_path / "let in") as tracker:
            tracker.note(f"The password is {PASSWORD}.")
            assert tracker.run_id
        run = only_run(gateway.uri, experiment)
    assert run.info.status == "FINISHED"
    assert PASSWORD not in str(run.data.to_dictionary())
    assert PASSWORD not in caplog.text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD not in path.read_text(), path


def test_missing_driver_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out by the courier, it would be a warning, and a run that nobody finds in MLflow."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match="psycopg"):
        Tracker.open(tracking_spec("postgresql://ann@db/mlflow"), tmp_path / "run")
    with pytest.raises(UserError, match="nonsense"):
        Tracker.open(tracking_spec("postgresql+nonsense://ann@db/mlflow"), tmp_path / "run")
