"""Runs that are killed, gone on with and compared, for several test files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from runs import SMALL
from safetensors.torch import load_file

from rlexp.runtime.checkpoints import complete_checkpoints, step_of
from rlexp.runtime.paths import CONF
from rlexp.tracking.spool.spool import read_events

STEPS, KILLED_AT = 6, 3
FEW = ("data.size=80", "eval.prompts=4", "eval.texts=4", "eval.bootstrap=10")
SIX = (*SMALL, *FEW, f"train.max_steps={STEPS}", "train.checkpoint_every=2", "eval.every=2")


def events_of(folder: Path) -> Iterator[dict[str, Any]]:
    return (event for event, _ in read_events(folder / "spool.jsonl"))


def wait_for(
    process: subprocess.Popen[str], folder: Path, happened: Callable[[dict[str, Any]], bool]
) -> None:
    """Until the spool of the process's run tells of the event."""
    while not ((folder / "spool.jsonl").exists() and any(map(happened, events_of(folder)))):
        try:
            _, told = process.communicate(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"it ended before that: {told}")


def kill_when(folder: Path, happened: Callable[[dict[str, Any]], bool], *arguments: str) -> None:
    """`python -m rlexp …` into `folder`, ended by SIGKILL once its spool tells of the event."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rlexp", *arguments],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, folder, happened)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def cut_after(whole: Path, killed: Path, step: int) -> Path:
    """What the run of a folder would have left, had it died in the step behind `step`."""
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("model", "card.*", ".lock"))
    for checkpoint in complete_checkpoints(killed / "checkpoints"):
        if step_of(checkpoint) > step:
            shutil.rmtree(checkpoint)
    events = list(events_of(killed))
    last = next(n for n, event in enumerate(events) if logged(step + 1)(event))
    lines = (whole / "spool.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (killed / "spool.jsonl").write_text("".join(lines[: last + 1]), encoding="utf-8")
    return killed


def resume_here(folder: Path, *overrides: str) -> int:
    from rlexp.commands.resume import run

    return run([str(folder), *overrides])


def logged(step: int) -> Callable[[dict[str, Any]], bool]:
    """Whether an event is the training's log of a step."""
    return lambda event: event.get("step") == step and "train/loss" in event.get("metrics", {})


def points_of(folder: Path) -> dict[tuple[str, int], list[str]]:
    """What was told of each metric at each step, but of time and memory; text, where NaN is NaN."""
    found: dict[tuple[str, int], list[str]] = {}
    for event in events_of(folder):
        for name, value in event["metrics"].items() if event["kind"] == "metrics" else ():
            if not name.startswith(("perf/", "system/")):
                found.setdefault((name, event["step"]), []).append(repr(value))
    return found


def told_once(folder: Path) -> list[str]:
    """Tables, checkpoints and data that the spool tells of."""
    kinds = ("table", "checkpoint", "dataset", "params")
    found = [e for e in events_of(folder) if e["kind"] in kinds]
    return [f"{e['kind']} {e.get('file')} {Path(e.get('path', '')).name}" for e in found]


def assert_same(resumed: Path, whole: Path) -> None:
    """Every number of two runs, bit for bit."""
    found, expected = points_of(resumed), points_of(whole)
    assert all(len(values) == 1 for values in found.values())
    assert found == expected
    assert sorted(told_once(resumed)) == sorted(told_once(whole))
    cards = [json.loads((folder / "card.json").read_text()) for folder in (resumed, whole)]
    for key in ("status", "before", "after", "intervals", "win_rate", "samples", "guards", "notes"):
        assert cards[0][key] == cards[1][key], key
    weights = [load_file(next((f / "model").glob("*.safetensors"))) for f in (resumed, whole)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    names = [
        [each.name for each in complete_checkpoints(f / "checkpoints")] for f in (resumed, whole)
    ]
    assert names[0] == names[1]
