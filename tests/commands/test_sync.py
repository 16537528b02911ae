"""`rlexp sync`: what could not be sent is sent later, once, and nobody who lives is disturbed."""

from __future__ import annotations

import json
import os
import platform
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
from runs import rlexp
from tracking_spec import tracking_spec

from rlexp.commands import sync
from rlexp.runtime.lock import lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.spec import UserError
from rlexp.tracking import Tracker
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool, read_events

TESTS = Path(__file__).parents[1]

DIES = """
import os, signal, sys
from pathlib import Path
from tracking_spec import tracking_spec
from rlexp.tracking import Tracker
uri, folder, how = sys.argv[1:]
with Tracker.open(tracking_spec(uri), Path(folder)) as tracker:
    if how != "offline":
        assert tracker.run_id
    for step in range(1, 4):
        tracker.log({"train/loss": 1 / step}, step)
    print("logged", flush=True)
    if how == "alive":
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a server that refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def process(uri: str, folder: Path, how: str) -> subprocess.Popen[str]:
    """A run in a process of its own, once it has logged its three steps."""
    folder.mkdir(parents=True)
    write_config(folder, uri)
    started = subprocess.Popen(
        [sys.executable, "-c", DIES, uri, str(folder), how],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
    )
    assert started.stdout
    assert started.stdout.readline() == "logged\n"
    return started


def write_config(folder: Path, uri: str | None) -> None:
    tracking = {"uri": uri, "experiment": "rlexp"}
    (folder / "config.yaml").write_text(json.dumps({"tracking": tracking}))


def killed(uri: str, folder: Path, how: str = "online") -> Path:
    """The folder of a run that SIGKILL ended."""
    assert process(uri, folder, how).wait() == -signal.SIGKILL
    return folder


def ended(uri: str, folder: Path) -> Path:
    """The folder of a run that ended well, and of which no store has heard."""
    folder.mkdir(parents=True)
    write_config(folder, uri)
    with Tracker.open(tracking_spec(None), folder) as tracker:
        tracker.log({"train/loss": 1.0}, 1)
    return folder


def runs(uri: str) -> dict[str, Run]:
    """MLflow's runs by the names of their folders."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("rlexp")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    by_folder = {Path(run.data.tags["folder"]).name: run for run in found}
    assert len(by_folder) == len(found)
    return by_folder


def losses(uri: str, run: Run) -> list[tuple[int, float]]:
    points = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "train/loss")
    return [(point.step, point.value) for point in points]


def test_killed_run_that_found_no_server(
    uri: str, nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worst of both: nothing was ever sent, and nobody said that it was over."""
    folder = killed(nobody, Path("outputs/one"), "offline")
    assert sync.run([]) == 1
    said = capsys.readouterr().out
    assert f"{folder}: had died and is ended now, 0 events sent" in said
    assert "Connection refused" in said
    assert sync.run([str(folder), f"tracking.uri={uri}"]) == 0
    unsent = len(list(read_events(folder / SPOOL)))
    assert f"{unsent} events sent to sqlite" in capsys.readouterr().out
    (run,) = runs(uri).values()
    assert losses(uri, run) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert (run.info.status, run.data.tags["state"]) == ("KILLED", "DIED")
    assert run.info.end_time is not None
    assert abs(run.info.end_time - run.info.start_time) < 60_000
    before = (folder / SPOOL).read_bytes()
    assert sync.run([]) == 0
    assert "Nothing to send" in capsys.readouterr().out
    assert (folder / SPOOL).read_bytes() == before
    assert len(runs(uri)) == 1


@pytest.mark.long
def test_run_that_is_alive_is_left_alone(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A second shipper would race the first, and a living run must not be called dead."""
    alive = process(uri, Path("outputs/alive"), "alive")
    try:
        assert sync.run([]) == 0
    finally:
        alive.kill()
        alive.wait()
    assert "outputs/alive: is alive" in capsys.readouterr().out
    assert runs(uri)["alive"].info.status == "RUNNING"
    assert sync.run([]) == 0
    assert "had died" in capsys.readouterr().out
    assert runs(uri)["alive"].info.status == "KILLED"


@pytest.mark.long
def test_next_start_ends_the_dead_and_spares_the_living(uri: str) -> None:
    """Dead runs would be RUNNING for ever, and are told from living ones by nothing in MLflow."""
    alive = process(uri, Path("somewhere/alive"), "alive")
    try:
        dead = killed(uri, Path("elsewhere/dead"))
        reused = killed(uri, Path("elsewhere/reused"))
        (reused / SPOOL).unlink()
        begins = {"t": 1, "kind": "start", "id": "another", "tags": {"host": platform.node()}}
        Spool(reused / SPOOL).append(begins)
        killed(uri, Path("elsewhere/abroad"))
        client = MlflowClient(tracking_uri=uri)
        client.set_tag(runs(uri)["abroad"].info.run_id, "host", "another machine")
        with Tracker.open(tracking_spec(uri), Path("next")):
            while runs(uri)["dead"].info.status == "RUNNING":
                threading.Event().wait(0.1)
        found = runs(uri)
        assert {name: run.info.status for name, run in found.items()} == {
            "alive": "RUNNING",
            "dead": "KILLED",
            "reused": "RUNNING",
            "abroad": "RUNNING",
            "next": "FINISHED",
        }
        assert losses(uri, found["dead"]) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
        *_, (last, _) = read_events(dead / SPOOL)
        assert (last["kind"], last["status"]) == ("end", "KILLED")
    finally:
        alive.kill()
        alive.wait()


@pytest.mark.long
def test_run_that_goes_on_is_no_longer_dead(uri: str) -> None:
    """`state=DIED` on a run that was resumed and finished is a lie."""
    folder = killed(uri, Path("outputs/one"))
    assert sync.run([]) == 0
    with Tracker.open(tracking_spec(uri), folder) as tracker:
        tracker.log({"train/loss": 0.25}, 4)
    (run,) = runs(uri).values()
    assert run.info.status == "FINISHED"
    assert "state" not in run.data.tags
    assert losses(uri, run) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]


@pytest.mark.long
def test_another_store_gets_the_whole_run(uri: str, empty_store: Path, tmp_path: Path) -> None:
    """What was sent to one store says nothing of another: half a run, or an unknown one."""
    folder = killed(uri, Path("outputs/one"))
    other = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'other.db')}"
    assert sync.run([str(folder), f"tracking.uri={other}"]) == 0
    (run,) = runs(other).values()
    assert losses(other, run) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert run.info.status == "KILLED"


@pytest.mark.long
def test_run_of_another_machine_is_left_alone(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On a shared disk the lock of a run that lives elsewhere may not be seen."""
    folder = killed(uri, Path("outputs/one"))
    spool = (folder / SPOOL).read_text()
    host = runs(uri)["one"].data.tags["host"]
    (folder / SPOOL).write_text(spool.replace(f'"host":"{host}"', '"host":"far away"'))
    assert sync.run([]) == 0
    assert "ran on far away" in capsys.readouterr().out
    assert runs(uri)["one"].info.status == "RUNNING"


def test_store_that_is_silent_is_asked_once(
    uri: str, nobody: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred runs at five seconds each; and one silent store must not hold up the others."""
    asked = []
    note_openings(monkeypatch, asked)
    for name in ("a", "b"):
        ended(nobody, Path("outputs") / name)
    ended(uri, Path("outputs/c"))
    assert sync.run([]) == 1
    assert asked == [nobody, uri]
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["outputs/a", "outputs/b", "outputs/c"]
    assert all("stay here" in line for line in said[:2])
    assert list(runs(uri)) == ["c"]


def note_openings(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    """Append the address of each store that is opened."""
    really_open = Shipper.open

    def opened(self: Shipper, patience: float) -> None:
        asked.append(self.uri)
        really_open(self, patience)

    monkeypatch.setattr(Shipper, "open", opened)


def test_mistakes_are_told_together(uri: str, tmp_path: Path) -> None:
    """One at a time, or after MLflow has been imported, costs a round each."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        sync.run(["empty", "nowhere", "tracking.url=x", "tracking.uri=htp://x"])
    wrong = [problem.key for problem in caught.value.problems]
    assert wrong == ["tracking.url=x", "empty", "nowhere", "tracking.uri"]
    done = rlexp("sync", "nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert "no folder" in done.stderr


def test_a_spool_alone_is_sent_where_its_remedy_says(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A remedy that names only one of the two keys, or keys that `sync` does not take."""
    folder = ended(uri, Path("outputs/one"))
    (folder / "config.yaml").unlink()
    assert sync.run([str(folder)]) == 2
    remedy = "tracking.uri=URI tracking.experiment=NAME"
    assert remedy in capsys.readouterr().out
    words = remedy.replace("URI", uri).replace("NAME", "rlexp").split()
    assert sync.run([str(folder), *words]) == 0
    assert list(runs(uri)) == ["one"]


def test_someone_else_is_sending(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two `sync` at once, or one beside a starting run that mends."""
    folder = ended(uri, Path("outputs/one"))
    with lock(folder):
        assert sync.run([str(folder)]) == 0
    assert "alive" in capsys.readouterr().out
    assert not runs(uri)


def test_relative_store_is_found_from_anywhere(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sqlite:///mlflow.db` seen from another folder would be a new, empty store there."""
    folder = ended("sqlite:///mlflow.db", tmp_path / "outputs" / "one")
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "hydra.yaml").write_text(f"hydra: {{runtime: {{cwd: {tmp_path}}}}}")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert sync.run(["../outputs"]) == 0
    assert list(runs(uri)) == ["one"]
    assert not list((tmp_path / "deep").iterdir())


def test_trials_of_a_sweep_that_found_no_server(uri: str, nobody: str) -> None:
    """Sent by themselves, in any order, the trials would not stand below their sweep."""
    sweep = Path("multirun/nightly")
    ended(uri, sweep / "0")
    Spool(sweep / SPOOL).append(
        {"t": 1, "kind": "start", "id": "s", "name": "sweep", "parent": None, "sweep": True}
        | {"tags": {"folder": str(sweep)}}
    )
    Spool(sweep / SPOOL).append({"t": 2, "kind": "end", "status": "FINISHED"})
    config = f"tracking: {{uri: '{uri}', experiment: '${{name}}'}}\nname: rlexp\n"
    (sweep / "multirun.yaml").write_text(config)
    assert sync.run([]) == 0
    found = runs(uri)
    assert found["0"].data.tags["mlflow.parentRunId"] == found["nightly"].info.run_id
    assert found["nightly"].info.status == "FINISHED"


def test_untracked_runs_are_nobodys_business(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`tracking=none` was said on purpose."""
    folder = ended(uri, Path("outputs/one"))
    write_config(folder, None)
    assert sync.run([]) == 0
    assert "Nothing to send" in capsys.readouterr().out
    assert not runs(uri)
