"""Whole runs of the tiny model: what they leave behind, that they repeat, and how they end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from runs import SMALL, rlexp, run_folder

from rlexp.conf_dir import CONF
from rlexp.models import tiny

NO_NETWORK = """
import os, socket

HERE = ("", "localhost", "127.0.0.1", "::1")

def refuse(what, host):
    with open(os.environ["REFUSED"], "a") as file:
        file.write(f"{what} {host}\\n")
    raise socket.gaierror(f"no network: {host}")

def guarded(name):
    real = getattr(socket.socket, name)
    def connect(self, address):
        if isinstance(address, tuple) and address[0] not in HERE:
            refuse(name, address[0])
        return real(self, address)
    setattr(socket.socket, name, connect)

guarded("connect")
guarded("connect_ex")
look_up = socket.getaddrinfo

def getaddrinfo(host, *rest, **named):
    if host is not None and host not in HERE:
        refuse("getaddrinfo", host)
    return look_up(host, *rest, **named)

socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture(scope="session", autouse=True)
def tiny_model() -> Path:
    """The embedded model, made once before the runs that share it."""
    return tiny.ensure()


def metrics_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every metric of a run's spool but those that measure time or memory."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in (folder / "spool.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        for name, value in event.get("metrics", {}).items() if event["kind"] == "metrics" else ():
            if not name.startswith(("perf/", "system/")):
                found.setdefault(name, []).append((event["step"], value))
    return found


def test_the_default_run_needs_no_network(tmp_path: Path) -> None:
    """A connection that a library tries behind our back, telemetry first of all; and the card, the
    checkpoints and the plain model folder that every run must leave."""
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "sitecustomize.py").write_text(NO_NETWORK)
    refused = tmp_path / "refused"
    paths = os.pathsep.join([str(tmp_path / "block"), str(CONF.parent)])
    small = [option for option in SMALL if option != "tracking=none"]
    done = rlexp(
        *small, folder=tmp_path, environment={"PYTHONPATH": paths, "REFUSED": str(refused)}
    )
    folder = run_folder(done, tmp_path)
    assert not refused.exists(), refused.read_text()
    card = json.loads((folder / "card.json").read_text())
    assert card["status"] == "FINISHED"
    assert card["algo"] == "grpo"
    assert len(card["run_id"]) == 32
    assert {"reward", "kl", "perplexity", "grammatical", "length", "distinct_2"} <= set(
        card["after"]
    )
    assert card["before"]["kl"] == 0.0 < card["after"]["kl"]
    assert len(card["samples"]) == 3
    assert "<script" not in (folder / "card.html").read_text()
    assert [each.name for each in sorted((folder / "checkpoints").iterdir())] == [
        "step-000001",
        "step-000002",
    ]
    assert (folder / "model" / "model.safetensors").is_file()
    assert not list(folder.rglob("*.bin"))
    database = sqlite3.connect(tmp_path / "mlflow.db")
    statuses = database.execute("select name, status from runs").fetchall()
    assert statuses == [("grpo-tiny-reviews-0", "FINISHED")]


@pytest.mark.parametrize("algo", ["sft", "dpo", "grpo"])
def test_the_same_command_gives_the_same_numbers(algo: str, tmp_path: Path) -> None:
    """Anything that draws from an unseeded or a shared random state: an evaluation in the middle,
    the order of threads, a dictionary's hash."""
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = rlexp(f"algo={algo}", *SMALL, "eval.every=1", folder=tmp_path / name)
        runs.append(metrics_of(run_folder(done, tmp_path / name)))
    assert runs[0] == runs[1]
    assert {"train/loss", "eval/reward", "eval/kl"} <= set(runs[0])


def test_an_evaluation_in_the_middle_does_not_change_the_training(tmp_path: Path) -> None:
    """An evaluation that leaves eval mode on, or the random state moved."""
    losses = []
    for every in (0, 1):
        done = rlexp(*SMALL, f"eval.every={every}", folder=tmp_path)
        losses.append(metrics_of(run_folder(done, tmp_path))["train/loss"])
    assert losses[0] == losses[1]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """A launcher that starts no second process, or ranks that train apart from each other: the
    gradients of two halves of a DPO batch are those of the whole."""
    losses = []
    for processes in (1, 2):
        done = rlexp(
            "algo=dpo",
            "hardware=ddp",
            "hardware.device=cpu",
            f"hardware.processes={processes}",
            "hardware.threads=1",
            *SMALL,
            folder=tmp_path,
        )
        losses.append([value for _, value in metrics_of(run_folder(done, tmp_path))["train/loss"]])
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)


def test_a_mistake_in_the_data_reaches_the_terminal_from_a_worker(tmp_path: Path) -> None:
    """A worker's error that arrives as 'exit code 2' without its remedy."""
    done = rlexp("hardware=ddp", "data.max_prompt_length=1", *SMALL, folder=tmp_path)
    assert done.returncode == 2
    assert "data.max_prompt_length" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    """A run that goes on with NaN weights, or keeps them as its newest checkpoint."""
    options = ["train.max_steps=6", "train.checkpoint_every=1", "eval=quick"]
    blow_up = ["algo.learning_rate=1e30", "train.max_grad_norm=0", "algo=sft"]
    done = rlexp(*options, *blow_up, folder=tmp_path)
    assert done.returncode == 1
    assert "at step" in done.stderr and "algo.learning_rate" in done.stderr
    (folder,) = (tmp_path / "outputs").glob("*/*")
    database = sqlite3.connect(tmp_path / "mlflow.db")
    assert database.execute("select status from runs").fetchall() == [("FAILED",)]
    assert all(
        (each / "model.safetensors").is_file() for each in (folder / "checkpoints").iterdir()
    )


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_ends_the_run_as_killed(sent: signal.Signals, status: int, tmp_path: Path) -> None:
    """A run that stays RUNNING in MLflow for ever after Ctrl-C or a scheduler's SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "rlexp", "train.max_steps=1000", "eval=quick"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training"):
            break
    process.send_signal(sent)
    assert process.wait(timeout=60) == status
    database = sqlite3.connect(tmp_path / "mlflow.db")
    assert database.execute("select status from runs").fetchall() == [("KILLED",)]


def test_a_multirun_is_one_parent_with_its_children(tmp_path: Path) -> None:
    """Jobs of a sweep that stand alone in MLflow, or one failing job that stops the others."""
    done = rlexp("-m", "algo=dpo,grpo", "seed=0,1", *SMALL[:3], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    database = sqlite3.connect(tmp_path / "mlflow.db")
    parents = database.execute(
        "select run_uuid from runs where run_uuid not in "
        "(select run_uuid from tags where key = 'mlflow.parentRunId')"
    ).fetchall()
    assert len(parents) == 1
    children = database.execute(
        "select r.name, r.status from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId' and t.value = ? order by r.name",
        parents[0],
    ).fetchall()
    assert children == [
        ("dpo-tiny-reviews-0", "FINISHED"),
        ("dpo-tiny-reviews-1", "FINISHED"),
        ("grpo-tiny-reviews-0", "FINISHED"),
        ("grpo-tiny-reviews-1", "FINISHED"),
    ]
    (sweep,) = (tmp_path / "multirun").iterdir()
    assert {each.name for each in sweep.iterdir() if each.is_dir()} >= {"0", "1", "2", "3"}


def test_an_adapter_is_trained_saved_and_compared_with_its_base(tmp_path: Path) -> None:
    """An adapter that is not trained, saved as whole weights, or its own reference."""
    done = rlexp("algo=dpo", "peft=lora", *SMALL, folder=tmp_path)
    folder = run_folder(done, tmp_path)
    card = json.loads((folder / "card.json").read_text())
    assert card["after"]["kl"] > 0
    assert (folder / "model" / "adapter_model.safetensors").is_file()
    assert not (folder / "model" / "model.safetensors").exists()
