"""Sweeps of a toy with real processes: what the sweeper does, without the seconds of a training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psutil

from rlexp.cli.main import PLUGINS
from rlexp.runtime.paths import CONF
from rlexp.sweep.study import read_study

CONFIG = f"""
defaults:
  - sweep/sampler@sweep.sampler: tpe
  - sweep/pruner@sweep.pruner: none
  - _self_
  - override hydra/sweeper: rlexp
  - override hydra/launcher: slots
x: 0.5
wait_for: null
leaves_after: null
ends: plain
sweep:
  name: toy
  folder: swept
  storage: sqlite:///swept/study.db
  objective: loss
  direction: minimize
  n_trials: 4
  n_jobs: 2
  max_retries: 2
  max_failures: 3
  heartbeat: 1
  confirm: 0
  confirm_best: 3
  seed: 0
  params: {{x: "interval(0,1)"}}
hydra:
  searchpath: ["file://{CONF}"]
  sweep: {{dir: "${{sweep.folder}}"}}
"""

APP = f"""
import atexit, os, signal, sys, time
from pathlib import Path
sys.path.append({PLUGINS!r})
import hydra

def wait(file):
    while not file.exists():
        time.sleep(0.01)

def run(config, number, folder, trial):
    (folder / "attempts").open("a").write(f"{{os.getpid()}} {{config.x}}\\n")
    first = len((folder / "attempts").read_text().splitlines()) == 1
    if config.wait_for:
        wait(Path(config.wait_for.format(number)))
    if config.leaves_after and number == 0:
        atexit.register(wait, folder / config.leaves_after)
    if config.ends == "killed once" and first and number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.ends == "killed" and number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.ends == "raises":
        raise ValueError("this trial fails")
    if config.ends == "pruned" and trial.report(1, float(number)):
        from rlexp.spec.errors import Pruned
        raise Pruned(1)
    if config.ends == "diverges" and number == 1:
        return float("nan")
    return config.x

@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(config):
    from hydra.core.hydra_config import HydraConfig
    from rlexp.spec.errors import Pruned
    from rlexp.sweep.trial import attached
    from rlexp.sweep.study import sweep_spec
    settings = HydraConfig.get()
    number, folder = settings.sweeper.trial, Path(settings.runtime.output_dir)
    spec = sweep_spec(config.sweep)
    if config.ends == "returns":
        return config.x if len(spec.objectives) == 1 else [config.x, -config.x]
    try:
        with attached(spec, number) as trial:
            trial.finish({{"loss": run(config, number, folder, trial)}})
    except Pruned:
        pass

if __name__ == "__main__":
    from rlexp.cli.exit_status import reported
    sys.exit(reported(main))
"""


class Toy:
    """The toy in a folder, and its study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "config.yaml").write_text(CONFIG)
        (folder / "app.py").write_text(APP)

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        """The sweep as a process with a session of its own."""
        slots = not any(word.startswith("hydra/launcher=") for word in overrides)
        light = ["hydra.launcher.preload=optuna"] if slots else []
        return subprocess.Popen(
            [sys.executable, "app.py", "-m", *light, *overrides],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(CONF.parent), "HYDRA_FULL_ERROR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def sweep(self, *overrides: str, status: int = 0) -> str:
        """The sweep to its end; what it printed."""
        process = self.start(*overrides)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        return output

    @property
    def study(self) -> optuna.Study:
        return read_study(str(self.folder / "swept"))

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study.trials]

    def attempts(self, number: int) -> list[tuple[int, str]]:
        """Process and parameter of each attempt at a trial that has begun."""
        file = self.folder / "swept" / str(number) / "attempts"
        lines = file.read_text().splitlines() if file.is_file() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def processes(self) -> list[psutil.Process]:
        """All that work in its folder."""
        processes = psutil.process_iter(["cwd"])
        return [process for process in processes if process.info["cwd"] == str(self.folder)]

    def begun(self, *numbers: int) -> Callable[[], bool]:
        return lambda: all(self.attempts(number) for number in numbers)


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
