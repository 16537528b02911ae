"""Sweeps of real runs, small enough for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from runs import SMALL

from rlexp.runtime.paths import CONF
from rlexp.sweep.study import read_study


def dpo_sweep(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    fixed = ["algo.learning_rate=1e-3", "algo.loss_type=[sigmoid]", SPACE]
    command = [sys.executable, "-m", "rlexp", "-m", "sweep=dpo_basics", *TINY, *fixed, *overrides]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return output


def study_in(folder: Path) -> Any:
    return read_study(str(folder / "multirun" / "dpo_basics"))


TINY = [
    *(word for word in SMALL if not word.startswith(("tracking", "train.max_steps"))),
    "train.max_steps=4",
    "eval.prompts=8",
    "eval.texts=8",
    "eval.every=2",
    "algo.pairs.prompts=32",
    "sweep.n_jobs=1",
    "sweep.heartbeat=1",
]


SPACE = "algo.beta=choice(0.5,1.0)"
