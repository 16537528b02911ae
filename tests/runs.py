"""Specs composed as the command line composes them, and runs of them, for several test files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from rlexp.config.hydra import composed_config
from rlexp.launch.launcher import launch
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec

SMALL = (
    "train.max_steps=2",
    "train.batch_size=16",
    "train.checkpoint_every=1",
    "eval=quick",
    "hardware.threads=1",
    "tracking=none",
)
"""As little of a run as shows that all of it happens."""


def composed(*overrides: str) -> dict[str, Any]:
    """The config that a command line with these overrides makes."""
    container = OmegaConf.to_container(composed_config(overrides), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def spec_of(*overrides: str) -> RunSpec:
    return RunSpec.parse(composed(*overrides))


def run_here(folder: Path, *overrides: str) -> Path:
    """A run in this process; its folder."""
    config = composed(*overrides)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    launch(RunSpec.parse(config), folder, None)
    return folder


def rlexp(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m rlexp …` typed in a folder, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "rlexp", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
    )


def run_folder(done: subprocess.CompletedProcess[str], folder: Path) -> Path:
    """The folder that a run's last line names."""
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / done.stdout.strip().splitlines()[-1]


SHORT = (
    "train.max_steps=1",
    "train.batch_size=8",
    "train.micro_batch_size=4",
    "train.checkpoint_every=1",
    "eval=quick",
    "eval.prompts=8",
    "eval.texts=8",
    "tracking=none",
    "hardware=cpu",
    "hardware.threads=1",
)


def run_of(folder: Path, *overrides: str) -> dict[str, Any]:
    """The card of a short run of the tiny model, in this process."""
    run_here(folder, *SHORT, *overrides)
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def problems_of(*overrides: str) -> dict[str, str]:
    """What the spec finds wrong, by key."""
    with pytest.raises(UserError) as caught:
        spec_of(*overrides)
    return {problem.key: str(problem) for problem in caught.value.problems}
