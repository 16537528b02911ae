"""Pipelines run: what is used, what runs again, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import rlexp

from rlexp.builtin import tiny
from rlexp.runtime.paths import CONF

CHAIN = """
name: chain
stages:
  sft: {algo: sft}
  dpo: {algo: dpo, model.path: "${stage:sft}", algo.pairs.prompts: 32}
"""
WORDS = (
    "pipeline=chain.yaml",
    "train.max_steps=2",
    "train.batch_size=8",
    "train.checkpoint_every=1",
    "eval=quick",
    "eval.prompts=8",
    "guards=off",
    "hardware.threads=1",
    "tracking.uri=sqlite:///mlflow.db",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the chain has run once."""
    tiny.ensure_tiny_model()
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "chain.yaml").write_text(CHAIN)
    done = rlexp(*WORDS, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def stages(folder: Path) -> dict[str, str]:
    """The latest state of each stage, of the pipeline that was at work last."""
    files = sorted((folder / "outputs/pipelines").glob("*/pipeline.json"), key=os.path.getmtime)
    return {s["name"]: s["state"] for s in json.loads(files[-1].read_text())["stages"]}


def begun(folder: Path) -> list[str]:
    """Runs of stages in their folders, with what each spool says of beginnings."""
    spools = sorted((folder / "outputs/stages").glob("*/spool.jsonl"))
    return [
        f"{spool.parent.name} {spool.read_text().count(chr(34) + 'start' + chr(34))}"
        for spool in spools
    ]


@pytest.mark.long
def test_nothing_runs_twice_and_a_change_runs_what_depends_on_it(place: Path) -> None:
    """A key that moves by itself; one that a changed rate does not move."""
    assert stages(place) == {"sft": "finished", "dpo": "finished", "dpo@base": "finished"}
    before = begun(place)
    again = rlexp(*WORDS, "tracking.experiment=other", folder=place)
    assert again.returncode == 0, again.stderr
    assert begun(place) == before
    changed = rlexp(*WORDS, "stage.dpo.algo.learning_rate=5e-4", "--until", "dpo", folder=place)
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert stages(place) == {"sft": "used", "dpo": "finished", "dpo@base": "waiting"}
    plan = rlexp(*WORDS, "stage.dpo.algo.learning_rate=4e-4", "--dry-run", folder=place)
    assert "1 there, 2 would run" in plan.stdout
    assert "algo.learning_rate:" in plan.stdout


@pytest.mark.long
def test_the_stages_know_each_other_in_mlflow(place: Path) -> None:
    """Runs that stand alone; a way back that ends at the first stage."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    runs = client.search_runs([client.search_experiments()[0].experiment_id, "1"])
    by_name = {run.info.run_name: run for run in runs}
    parent, sft, dpo = (by_name[n] for n in ("pipeline chain", "chain-sft", "chain-dpo"))
    assert sft.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert dpo.data.tags["input.model.path"] == sft.info.run_id
    inputs = client.get_run(dpo.info.run_id).inputs
    assert inputs is not None
    (model,) = inputs.model_inputs
    assert client.get_logged_model(model.model_id).source_run_id == sft.info.run_id
    assert "tree.svg" in parent.data.tags["mlflow.note.content"]
    tree = rlexp("tree", "chain-dpo", "tracking.uri=sqlite:///mlflow.db", folder=place)
    assert tree.stdout.index("chain-sft") < tree.stdout.index("chain-dpo")


@pytest.mark.slow
def test_a_killed_pipeline_goes_on_in_the_middle_of_its_stage(tmp_path: Path) -> None:
    """A stage that begins again; one whose numbers differ from those of an unbroken pipeline."""
    tiny.ensure_tiny_model()
    words = [*WORDS, "train.max_steps=6"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chain.yaml").write_text(CHAIN)
    assert rlexp(*words, folder=tmp_path / "whole").returncode == 0
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "rlexp", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(folder.glob("outputs/stages/*/checkpoints/step-000003")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert rlexp(*words, folder=folder).returncode == 0
    cards = [sorted((tmp_path / n).glob("outputs/stages/*/card.json")) for n in ("whole", "killed")]
    for one, other in zip(*cards, strict=True):
        assert one.parent.name == other.parent.name
        left, right = (json.loads(card.read_text()) for card in (one, other))
        assert left["after"] == right["after"]
        assert left["samples"] == right["samples"]
