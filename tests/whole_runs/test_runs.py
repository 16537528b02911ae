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
import torch
from runs import SMALL, rlexp, run_folder, run_here
from safetensors.torch import load_file

from rlexp.algos.sft import Sft
from rlexp.builtin import tiny
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import RunFailed, UserError
from rlexp.tracking.store.connection import connect, resolve

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
    return tiny.ensure_tiny_model()


def metrics_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every metric of a run's spool but those that measure time or memory."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in (folder / "spool.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        for name, value in event.get("metrics", {}).items() if event["kind"] == "metrics" else ():
            if not name.startswith(("perf/", "system/")):
                found.setdefault(name, []).append((event["step"], value))
    return found


@pytest.mark.long
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
    assert sorted(each.name for each in folder.glob("checkpoints/*-*")) == [
        "step-000001",
        "step-000002",
    ]
    assert (folder / "model" / "model.safetensors").is_file()
    assert not list(folder.rglob("pytorch_model*.bin"))
    database = sqlite3.connect(tmp_path / "mlflow.db")
    statuses = database.execute("select name, status from runs").fetchall()
    assert statuses == [("grpo-tiny-reviews-0", "FINISHED")]


@pytest.mark.parametrize(
    "algo", ["grpo", *(pytest.param(algo, marks=pytest.mark.slow) for algo in ("sft", "dpo"))]
)
def test_the_same_command_gives_the_same_numbers(algo: str, tmp_path: Path) -> None:
    """Anything that draws from an unseeded or a shared random state, or that an evaluation in the
    middle leaves moved: its random numbers, eval mode."""
    options = [f"algo={algo}", *SMALL]
    first = metrics_of(run_here(tmp_path / "first", *options))
    torch.rand(7)
    again = metrics_of(run_here(tmp_path / "again", *options, "eval.every=1"))
    assert {"train/loss", "eval/reward", "eval/kl"} <= set(first)
    for name, points in first.items():
        kept = [point for point in again[name] if point in points]
        assert kept == points, name


@pytest.mark.long
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """A launcher that starts no second process, or ranks that train apart from each other: the
    gradients of two halves of a DPO batch are those of the whole."""
    options = ["algo=dpo", "hardware=ddp", "hardware.device=cpu", *SMALL]
    losses = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        metrics = metrics_of(run_here(folder, *options, f"hardware.processes={processes}"))
        losses.append([value for _, value in metrics["train/loss"]])
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)


@pytest.mark.long
def test_a_mistake_reaches_the_user_from_a_worker(tmp_path: Path) -> None:
    """A worker's error that arrives as 'exit code 2' without its remedy."""
    with pytest.raises(UserError) as caught:
        run_here(tmp_path, "hardware=ddp", "data.max_prompt_length=1", *SMALL)
    assert "data.max_prompt_length" in str(caught.value)


@pytest.mark.long
def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    """A run that goes on with NaN weights, or keeps them as its newest checkpoint."""
    blow_up = ["algo=sft", "algo.learning_rate=1e30", "train.max_grad_norm=0"]
    with pytest.raises(RunFailed) as caught:
        run_here(tmp_path, *blow_up, *SMALL, "train.max_steps=6")
    assert "at step" in caught.value.what and "algo.learning_rate" in caught.value.remedy
    end = json.loads((tmp_path / "spool.jsonl").read_text().splitlines()[-1])
    assert end["status"] == "FAILED"
    assert json.loads((tmp_path / "card.json").read_text())["status"] == "FAILED"
    for checkpoint in (tmp_path / "checkpoints").glob("step-*"):
        weights = load_file(checkpoint / "model.safetensors")
        assert all(torch.isfinite(each).all() for each in weights.values())


def test_out_of_memory_names_the_knob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocation that fails as a traceback through three libraries."""

    def exhausted(self: object, training: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(Sft, "build_trainer", exhausted)
    with pytest.raises(RunFailed) as caught:
        run_here(tmp_path, "algo=sft", *SMALL)
    assert "train.micro_batch_size=8" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_ends_the_run_as_killed(sent: signal.Signals, status: int, tmp_path: Path) -> None:
    """A run that stays RUNNING in MLflow for ever after Ctrl-C or a scheduler's SIGTERM."""
    connect(resolve("sqlite:///" + str(tmp_path / "mlflow.db")), "rlexp")
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


@pytest.mark.slow
def test_a_multirun_is_one_parent_with_its_children(tmp_path: Path) -> None:
    """Jobs of a sweep that stand alone in MLflow, or one failing job that stops the others."""
    done = rlexp("-m", "algo=dpo,grpo", "seed=0,1", *SMALL[:-1], folder=tmp_path)
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


@pytest.mark.long
def test_an_adapter_is_trained_saved_and_compared_with_its_base(tmp_path: Path) -> None:
    """An adapter that is not trained, saved as whole weights, or its own reference."""
    folder = run_here(tmp_path, "algo=dpo", "peft=lora", *SMALL)
    card = json.loads((folder / "card.json").read_text())
    assert card["after"]["kl"] > 0
    assert (folder / "model" / "adapter_model.safetensors").is_file()
    assert not (folder / "model" / "model.safetensors").exists()


@pytest.mark.long
def test_lora_where_memory_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`peft=auto` that trains all weights of a model that does not fit, or does not say so."""
    monkeypatch.setattr("rlexp.models.load.available_bytes", lambda device: 1_000)
    folder = run_here(tmp_path, "algo=sft", *SMALL)
    assert (folder / "model" / "adapter_model.safetensors").is_file()
    assert any("LoRA" in note for note in json.loads((folder / "card.json").read_text())["notes"])


@pytest.mark.long
def test_a_chat_model_is_asked_in_its_template(tmp_path: Path) -> None:
    """Prompts that reach a chat model bare, or a reward that judges the instruction as well."""
    model = ["model=local", f"model.path={tiny.ensure_tiny_model()}", "model.chat=true"]
    folder = run_here(
        tmp_path, *model, "model.chat_template=chatml", "data.max_prompt_length=300", *SMALL
    )
    card = json.loads((folder / "card.json").read_text())
    assert not card["samples"][0]["prompt"].startswith("Continue")
    assert card["after"]["reward"] is not None
