"""One command shows the runs, and leaves nothing behind when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest
from runs import rlexp
from stored_runs import StoredRuns

from rlexp.__main__ import main
from rlexp.runtime.paths import CONF


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def page(folder: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The verb at work, killed if the test has not ended it, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rlexp", "ui", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    try:
        addresses = (line.strip() for line in process.stdout if line.strip().startswith("http"))
        yield process, next(addresses, "")
    finally:
        for child in [*_below(process), process.pid]:
            if psutil.pid_exists(child):
                os.kill(child, signal.SIGKILL)
        process.wait()


def _below(process: subprocess.Popen[str]) -> list[int]:
    if not psutil.pid_exists(process.pid):
        return []
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("signal_sent", "code"),
    [pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_the_page_is_there_and_then_nothing_is(
    stored: StoredRuns, tmp_path: Path, port: int, signal_sent: signal.Signals, code: int
) -> None:
    """MLflow's server starts processes of its own, which outlive it when it is only killed."""
    run_id = stored.add("toy")
    with page(tmp_path, port) as (process, address):
        found = f"http://127.0.0.1:{port}/#/experiments/{stored.experiment_id}/runs?"
        assert address.startswith(found), process.stderr.read() if process.stderr else ""
        assert "workflowType=machine_learning" in address
        assert "viewStateShareKey=rlexp" in address
        question = json.dumps({"experiment_ids": [stored.experiment_id]}).encode()
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search"
        asked = Request(url, question, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=30) as answer:
            (run,) = json.load(answer)["runs"]
        assert run["info"]["run_id"] == run_id
        server = _below(process)
        assert server
        process.send_signal(signal_sent)
        assert process.wait(60) == code
        assert not [pid for pid in server if psutil.pid_exists(pid)]
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_busy_port_is_told_with_a_free_one(
    stored: StoredRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow's own words for it are a page of log, and it leaves a server half up."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        assert main(["ui", "--port", str(taken)]) == 2
    told = capsys.readouterr().err
    free = int(told.partition("Type --port ")[2])
    assert taken < free
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free))


@pytest.mark.slow
def test_a_server_s_own_page_is_named(stored: StoredRuns, tmp_path: Path, port: int) -> None:
    """With a team's server a second one would show an empty store, or none."""
    stored.add("toy")
    with page(tmp_path, port) as (process, address):
        assert address, process.stderr.read() if process.stderr else ""
        done = rlexp("ui", f"tracking.uri=http://127.0.0.1:{port}", folder=tmp_path)
        assert (done.returncode, done.stdout.strip()) == (0, address)
        listed = rlexp("ls", f"tracking.uri=http://127.0.0.1:{port}", folder=tmp_path)
        assert "0.10→0.90" in listed.stdout


def test_mistakes(stored: StoredRuns, capsys: pytest.CaptureFixture[str]) -> None:
    """A server on a store that is not there would make one, and show it empty."""
    assert main(["ui", "tracking.uri=sqlite:///none.db"]) == 2
    assert "python -m rlexp" in capsys.readouterr().err
    assert not Path("none.db").exists()
    assert main(["ui", "--port", "123456"]) == 2
    assert main(["ui", "toy"]) == 2
