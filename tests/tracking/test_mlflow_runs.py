"""Runs arrive in MLflow whole and once: in a real SQLite store and on a real server."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tracking_spec import tracking_spec

from rlexp.tracking import Tracker
from rlexp.tracking.spool import uploader
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import UploadState, read_events
from rlexp.tracking.store.connection import SAVED_VIEW

TESTS = Path(__file__).parents[1]


def only_run(uri: str, experiment: str = "rlexp") -> Run:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found
    (run,) = client.search_runs([found.experiment_id])
    return run


def points(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    history = MlflowClient(tracking_uri=uri).get_metric_history(run_id, name)
    return [(metric.step, metric.value) for metric in history]


def tell_a_run(folder: Path, uri: str | None) -> Tracker:
    """A run with an event of every kind."""
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 7\n")
    (folder / "card.html").write_text("<p>card</p>")
    with Tracker.open(tracking_spec(uri), folder, description="A *toy*.") as tracker:
        tracker.dataset("reviews", "grammar", "0123abcd" * 8, "prompts", 100)
        for step in range(1, 4):
            tracker.log({"train/loss": 1 / step, "rollout/reward": step}, step)
        tracker.log({"eval/reward": 0.5, "eval/kl": math.nan}, 3)
        rows = [{"prompt": [{"role": "user", "content": "Hi"}], "completion": "Yo", "reward": 0.5}]
        for step in (0, 3):
            tracker.samples("samples", step, rows)
        tracker.checkpoint(3, folder / "checkpoints" / "step-000003", {"eval/reward": 0.5})
        tracker.artifact(folder / "card.html")
        tracker.note("Second paragraph.")
        tracker.event("guard", text="fine")
    return tracker


def check_whole_run(uri: str, experiment: str = "rlexp") -> Run:
    """Everything of `tell_a_run` is in MLflow, once."""
    client = MlflowClient(tracking_uri=uri)
    run = only_run(uri, experiment)
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["algo.beta"] == "0.1"
    assert run.data.tags["purpose"] == "test"
    assert run.data.tags["mlflow.note.content"] == "A *toy*.\n\nSecond paragraph."
    assert points(uri, run_id, "train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert points(uri, run_id, "eval/reward") == [(3, 0.5)]
    ((step, kl),) = points(uri, run_id, "eval/kl")
    assert step == 3
    assert math.isnan(kl)
    assert run.inputs
    assert run.outputs
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("reviews", "0123abcd")
    assert json.loads(dataset.dataset.profile or "")["digest"] == "0123abcd" * 8
    (output,) = run.outputs.model_outputs
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert (output.model_id, output.step) == (model.model_id, 3)
    assert (model.name, model.source_run_id) == ("step-000003-toy-run", run_id)
    assert [(m.key, m.step, m.value) for m in model.metrics or []] == [("eval/reward", 3, 0.5)]
    table = Path(client.download_artifacts(run_id, "samples/step-000003.json"))
    assert json.loads(table.read_text()) == {
        "columns": ["step", "reward", "prompt", "completion"],
        "data": [[3, 0.5, "user: Hi", "Yo"]],
    }
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "samples/step-000003.json", "type": "table"},
        {"path": "samples/step-000000.json", "type": "table"},
    ]
    names = {file.path for file in client.list_artifacts(run_id)}
    assert {"card.html", "config.yaml", "packages.txt", "samples"} <= names
    tags = client.get_experiment(run.info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    state = json.loads(json.loads(tags[SAVED_VIEW])["state"])
    assert {"metrics.`eval/reward`", "params.`algo.beta`"} <= set(state["selectedColumns"])
    return run


def test_everything_arrives_in_sqlite(uri: str, tmp_path: Path) -> None:
    """Each kind of event has a way of its own into MLflow, and each can be the broken one."""
    tracker = tell_a_run(tmp_path / "run", uri)
    run = check_whole_run(uri)
    assert tracker.run_id == run.info.run_id
    assert [step for step, _ in tracker.history] == [1, 2, 3, 3]
    assert (run.info.artifact_uri or "").startswith((tmp_path / "mlartifacts").as_uri())


def test_sending_again_doubles_nothing(uri: str, tmp_path: Path) -> None:
    """A process can die after MLflow's answer and before its own note, at any event."""
    folder = tmp_path / "run"
    tell_a_run(folder, uri)
    for sent in (UploadState(), UploadState(run_id=only_run(uri).info.run_id)):
        sent.save(folder / "spool.sent")
        Shipper(folder, uri, "rlexp").ship()
        check_whole_run(uri)
        assert UploadState.load(folder / "spool.sent").refused == 0


def test_another_process_goes_on_from_the_two_files(uri: str, tmp_path: Path) -> None:
    """After SIGKILL the rest of the spool must reach the same run, from event to event."""
    folder = tmp_path / "run"
    tell_a_run(folder, None)
    for _, offset in list(read_events(folder / "spool.jsonl")):
        spool = (folder / "spool.jsonl").read_bytes()
        cut = tmp_path / "cut"
        cut.mkdir(exist_ok=True)
        shutil.copytree(folder, cut, dirs_exist_ok=True)
        (cut / "spool.jsonl").write_bytes(spool[: offset + 7])
        Shipper(cut, uri, "rlexp").ship()
        assert UploadState.load(cut / "spool.sent").offset == offset
    check_whole_run(uri)


def test_without_mlflow_the_spool_has_everything(tmp_path: Path) -> None:
    """`tracking=none` must neither import MLflow nor lose a thing."""
    tracker = tell_a_run(tmp_path / "run", None)
    kinds = [event["kind"] for event, _ in read_events(tmp_path / "run" / "spool.jsonl")]
    assert kinds.count("metrics") == 4
    assert {"start", "params", "table", "checkpoint", "dataset", "artifact", "end"} <= set(kinds)
    assert (tracker.run_id, tracker.ui_command) == (None, None)


def test_refused_event_does_not_block_the_others(uri: str, tmp_path: Path) -> None:
    """One bad metric would hold back the batch it is in, and all that comes after."""
    with Tracker.open(tracking_spec(uri), tmp_path / "run") as tracker:
        tracker.log({"train/loss": 1.0}, 1)
        tracker.log({"train/bad(name)": 1.0}, 1)
        tracker.log({"train/loss": 2.0}, 2)
        tracker.artifact(tmp_path / "never-written.txt")
        tracker.log({"train/loss": 3.0}, 3)
    run = only_run(uri)
    assert points(uri, run.info.run_id, "train/loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert run.info.status == "FINISHED"
    assert UploadState.load(tmp_path / "run" / "spool.sent").refused == 2


@pytest.mark.long
def test_first_sample_of_the_cpu_is_a_measurement(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reading that psutil gives a thread is 0, however busy the machine is."""
    monkeypatch.setattr(uploader, "_SAMPLING_INTERVAL", 0.0)
    name = "system/cpu_utilization_percentage"
    found: list[float] = []
    with Tracker.open(tracking_spec(uri), tmp_path / "run"):
        while not found:
            sum(range(1_000_000))
            events = [event for event, _ in read_events(tmp_path / "run" / "spool.jsonl")]
            found = [each["metrics"][name] for each in events if name in each.get("metrics", {})]
    assert found[0] > 0


def test_more_metrics_than_a_call_takes(uri: str, tmp_path: Path) -> None:
    """MLflow refuses more than 1,000 in a call, be they of one event or of many."""
    with Tracker.open(tracking_spec(uri), tmp_path / "run") as tracker:
        tracker.log({f"train/m{index}": index for index in range(1300)}, 0)
        for step in range(1, 60):
            tracker.log({f"train/m{index}": index + step for index in range(30)}, step)
    run = only_run(uri)
    assert len(run.data.metrics) == 1300
    expected = [(step, 29.0 + step) for step in range(60)]
    assert points(uri, run.info.run_id, "train/m29") == expected


ENDS = """
import os, signal, sys, threading, time
from pathlib import Path
from tracking_spec import tracking_spec
from rlexp.tracking import Tracker
how, uri, folder = sys.argv[1:]
with Tracker.open(tracking_spec(uri or None), Path(folder)) as tracker:
    tracker.log({"train/loss": 1.0}, 1)
    if how == "error":
        raise ValueError("the loss is a pear")
    if how == "exit":
        sys.exit(3)
    if how == "while connected":
        assert tracker.run_id
    os.kill(os.getpid(), signal.SIGINT if how == "interrupt" else signal.SIGTERM)
    threading.Event().wait()
"""


def ended(how: str, uri: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ENDS, how, uri, str(folder)]
    paths = [str(TESTS), str(TESTS.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("error", "FAILED", 1),
        ("exit", "FAILED", 3),
        ("interrupt", "KILLED", -signal.SIGINT),
        ("terminate", "KILLED", 143),
        pytest.param("while connected", "KILLED", 143, marks=pytest.mark.long),
    ],
)
def test_status_says_how_a_process_ended(
    how: str, status: str, code: int, uri: str, tmp_path: Path
) -> None:
    """MLflow left to itself says FINISHED after an error, and RUNNING for ever after SIGTERM."""
    done = ended(how, uri if how == "while connected" else "", tmp_path / "run")
    assert done.returncode == code, done.stderr
    Shipper(tmp_path / "run", uri, "rlexp").ship()
    run = only_run(uri)
    assert run.info.status == status
    assert points(uri, run.info.run_id, "train/loss") == [(1, 1.0)]
    if how == "error":
        assert run.data.tags["error"] == "ValueError: the loss is a pear"


@pytest.mark.long
def test_sigterm_before_mlflow_has_answered(uri: str, tmp_path: Path) -> None:
    """The end must stand in the spool whatever the courier is doing, and be sent by whoever can."""
    done = ended("at once", uri, tmp_path / "run")
    assert done.returncode == 143, done.stderr
    *_, (last, _) = read_events(tmp_path / "run" / "spool.jsonl")
    assert (last["kind"], last["status"]) == ("end", "KILLED")
    Shipper(tmp_path / "run", uri, "rlexp").ship()
    assert only_run(uri).info.status == "KILLED"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(port: int, empty_store: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An `mlflow server` that answers; it is stopped with everything that it started."""
    store = shutil.copy(empty_store, tmp_path / "server.db")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{store}"]
    command += ["--artifacts-destination", str(tmp_path / "served"), "--workers", "1"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.long
def test_server_that_comes_up_late_gets_everything(
    port: int, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """The run starts with a refused connection; what it logs meanwhile must not be lost."""
    uri = f"http://127.0.0.1:{port}"
    folder = tmp_path / "run"
    folder.mkdir()
    with Tracker.open(tracking_spec(uri, experiment="late"), folder) as tracker:
        tracker.log({"train/loss": 1.0}, 1)
        first_answer = tracker.run_id
        while tracker.run_id is None:
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            threading.Event().wait(0.2)
        tracker.log({"train/loss": 0.5}, 2)
    run = only_run(uri, "late")
    assert first_answer in (None, run.info.run_id)
    assert points(uri, run.info.run_id, "train/loss") == [(1, 1.0), (2, 0.5)]
    assert run.info.status == "FINISHED"
    tell_a_run(tmp_path / "second", uri)
    check_whole_run(uri)
