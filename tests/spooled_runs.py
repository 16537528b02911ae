"""Runs as their spools tell them, without a training, for tests of what reads runs."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from runs import composed

from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool

PROMPTS = tuple(f"The film number {index}" for index in range(24))
STEPS = 30
TAGS = {
    "command": "rlexp seed=0",
    "mlflow.source.git.commit": "0123456789abcdef",
    "git.dirty": "false",
    "python": "3.11.7",
}


def spooled_run(
    folder: Path,
    *overrides: str,
    uri: str | None = None,
    quality: float = 0.5,
    prompts: Sequence[str] = PROMPTS,
    completions: int = 2,
    steps: Sequence[int] = (0, STEPS),
    text: str = "was fine",
    status: str = "FINISHED",
    metrics: Mapping[str, float] | None = None,
    card: bool = True,
) -> Path:
    """A run in `folder`.

    Args:
        folder: new; its name is the run's.
        overrides: of its config.
        uri: a tracking store that gets it too.
        quality: mean reward of its last evaluation; prompts have an ease of their own.
        prompts: held out.
        completions: of each prompt.
        steps: those of its evaluations.
        text: that all its completions begin with.
        status: that it ends with.
        metrics: further ones of each evaluation.
        card: whether it comes so far as to leave one.
    """
    folder.mkdir(parents=True)
    config: dict[str, Any] = _composed(f"train.max_steps={STEPS}", *overrides) | {
        "name": folder.name
    }
    (folder / "provenance").mkdir()
    for place in (folder, folder / "provenance"):
        (place / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "provenance" / "packages.txt").write_text("torch==2.13\n", encoding="utf-8")
    spool = Teller(folder)
    spool.tell("start", id=uuid.uuid4().hex, name=folder.name, parent=None, tags=TAGS)
    spool.tell("params", params={"algo.name": config["algo"]["name"], "seed": config["seed"]})
    for name in ("config.yaml", "packages.txt"):
        spool.tell("artifact", path=f"provenance/{name}", folder=None)
    for step in range(1, max(steps) + 1):
        values = {"rollout/reward": quality * step / STEPS, "train/loss": 1 / step}
        spool.tell("metrics", step=step, metrics=values)
    found = {}
    for step in steps:
        rows = _rows(quality if step else 0.0, prompts, completions, text)
        found = _found(rows) | dict(metrics or {})
        spool.tell("metrics", step=step, metrics=found)
        file, data = f"samples/step-{step:06d}.json", [[step, *row.values()] for row in rows]
        spool.tell("table", step=step, file=file, columns=["step", *rows[0]], data=data)
    if card:
        (folder / "card.json").write_text(json.dumps(_card(found)), encoding="utf-8")
        spool.tell("artifact", path="card.json", folder=None)
    spool.tell("end", status=status)
    spool.close()
    if uri:
        Shipper(folder, uri, "rlexp").ship()
    return folder


_composed = cache(composed)


class Teller(Spool):
    """Writes events, each a second after the last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / SPOOL)
        self.time = time.time_ns() // 1_000_000

    def tell(self, kind: str, **fields: Any) -> None:
        self.time += 1000
        self.append({"t": self.time, "kind": kind, **fields})


def _rows(
    quality: float, prompts: Sequence[str], completions: int, text: str
) -> list[dict[str, Any]]:
    noise = random.Random(f"{quality} {text}")
    rows = []
    for prompt in prompts:
        ease = random.Random(prompt).uniform(-2, 2)
        for index in range(completions):
            reward = quality + ease + noise.uniform(-0.05, 0.05)
            rows.append(
                {
                    "reward": reward,
                    "reward_sentiment": reward,
                    "prompt": prompt,
                    "completion": f"{text} {index}",
                    "length": 4 + index,
                    "ended": index != 1,
                    "grammatical": 1.0,
                }
            )
    return rows


def _found(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = ("reward", "reward_sentiment", "length", "ended", "grammatical")
    means = {f"eval/{name}": sum(float(row[name]) for row in rows) / len(rows) for name in names}
    return means | {"eval/kl": 0.05}


def _card(found: Mapping[str, float]) -> dict[str, Any]:
    after = {name.removeprefix("eval/"): value for name, value in found.items()}
    return {
        "after": after,
        "intervals": {name: [value - 0.01, value + 0.01] for name, value in after.items()},
        "train_seconds": 21.5,
        "total_seconds": 75.0,
        "tokens_per_second": 4120.0,
        "peak_memory_mib": 1312.0,
        "cost": {"evaluation_seconds": 9.5},
    }
