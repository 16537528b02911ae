"""What a pipeline loses to SIGKILL: python benchmarks/kill.py --pipeline [--count 10] [--seed 0]

A pipeline of two trainings and an evaluation is killed at random moments; the same command follows
each time, until it is done. Beside it the same pipeline runs without a kill.

- `lost`: stages or points of metrics that the unbroken pipeline has, and the killed one has not.
- `repeated`: stages that ran again though they had finished, points that are told twice.
- `stuck`: stages or MLflow runs that are not over when the pipeline is.
- `overwritten`: final metrics that are others than the unbroken pipeline's.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

CHAIN = """
name: chain
stages:
  sft: {algo: sft}
  dpo: {algo: dpo, model.path: "${stage:sft}", algo.pairs.prompts: 32}
"""
WORDS = (
    "pipeline=chain.yaml",
    "train.max_steps=12",
    "train.batch_size=16",
    "train.checkpoint_every=2",
    "eval.prompts=8",
    "eval.texts=8",
    "eval.best_of=0",
    "hardware.threads=1",
)
KILLS_A_PIPELINE = 5
WITHIN = 25.0
"""Seconds, from a start, in which the next kill falls."""


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "rlexp", *WORDS],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )


def made(folder: Path) -> Path:
    folder.mkdir()
    (folder / "chain.yaml").write_text(CHAIN, encoding="utf-8")
    return folder


def killed(folder: Path, rng: random.Random, kills: int) -> int:
    """Run a pipeline to its end, killed so many times on the way; return how many hit."""
    hits = 0
    while True:
        process = start(folder)
        limit = rng.uniform(0.5, WITHIN) if hits < kills else None
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            hits += 1
            continue
        if status != 0:
            raise SystemExit((folder / "output").read_text(encoding="utf-8")[-4000:])
        return hits


def losses(folder: Path, whole: Path) -> Counter[str]:
    """Return what is other in a folder than in the one of the unbroken pipeline."""
    counts = Counter[str]()
    for card in (whole / "outputs/stages").glob("*/card.json"):
        stage = folder / "outputs/stages" / card.parent.name
        if not (stage / "card.json").is_file():
            counts["lost"] += 1
            continue
        one, other = (json.loads(p.read_text()) for p in (card, stage / "card.json"))
        counts["overwritten"] += one["after"] != other["after"]
        before, after = points(card.parent), points(stage)
        counts["lost"] += len(set(before) - set(after))
        counts["repeated"] += sum(count > 1 for count in after.values())
        kinds = [event["kind"] for event in events(stage)]
        ends = [i for i, e in enumerate(events(stage)) if e.get("status") == "FINISHED"]
        counts["repeated"] += sum("start" in kinds[end:] for end in ends)
        counts["stuck"] += not ends
    counts["stuck"] += running(folder)
    return counts


def events(stage: Path) -> list[dict[str, object]]:
    lines = (stage / "spool.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def points(stage: Path) -> Counter[tuple[str, int]]:
    """Return how often each metric is told at each step; the machine's own are left out."""
    told = Counter[tuple[str, int]]()
    for event in events(stage):
        if event["kind"] == "metrics":
            metrics, step = event["metrics"], event["step"]
            assert isinstance(metrics, dict) and isinstance(step, int)
            told.update((name, step) for name in metrics if not name.startswith("system/"))
    return told


def running(folder: Path) -> int:
    """Return how many of MLflow's runs are not over."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return sum(run.info.status == "RUNNING" for run in client.search_runs(ids))


def kill_pipelines(scratch: Path, count: int, rng: random.Random) -> Counter[str]:
    """Kill pipelines so many times in all, print what that cost, and return it."""
    whole, total, hits, began = made(scratch / "whole"), Counter[str](), 0, time.monotonic()
    if start(whole).wait() != 0:
        raise SystemExit((whole / "output").read_text(encoding="utf-8")[-4000:])
    index = 0
    while hits < count:
        folder = made(scratch / str(index))
        hit = killed(folder, rng, min(KILLS_A_PIPELINE, count - hits))
        seen = losses(folder, whole)
        total.update(seen)
        print(f"pipeline {index}: killed {hit} times, {dict(seen)}", flush=True)
        hits, index = hits + hit, index + 1
    print(f"{hits} kills of pipelines in {time.monotonic() - began:.0f} s")
    return total
