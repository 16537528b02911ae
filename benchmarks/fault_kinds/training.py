"""Trainings in processes of their own, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.spool.dead_runs import SpoolStatus
from rlexp.tracking.spool.history import RunHistory

ROOT = Path(__file__).parents[2]
STEPS = 30
EXPERIMENT = "rlexp"


class Training:
    """`python -m rlexp` in a folder, begun or gone on with.

    Args:
        folder: the run's.
        uri: tracking address.
        overrides: of the config.
    """

    def __init__(self, folder: Path, uri: str, *overrides: str) -> None:
        self.folder = folder
        self._begin = ["algo=dpo", "eval=quick", f"train.max_steps={STEPS}", "hardware.threads=1"]
        self._begin += ["train.checkpoint_every=5", f"tracking.uri={uri}", *overrides]
        self._begin += [f"hydra.run.dir={folder}"]
        self._log = folder.parent / f"{folder.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Resume, or begin where nothing that has begun is left."""
        begun = SpoolStatus.read(self.folder).ids
        self._run(["resume", str(self.folder)] if begun else self._begin)

    def sync(self) -> int:
        """Send the rest; the exit status."""
        self._run(["sync", str(self.folder)])
        return self.wait()

    def wait(self, seconds: float | None = None) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired` when it takes longer."""
        assert self._process
        return self._process.wait(seconds)

    def killed_after(self, seconds: float) -> bool:
        """SIGKILL for all of it after so many seconds; whether it had not ended before."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.tell(signal.SIGKILL)
            self.wait()
            return True
        return False

    @property
    def is_over(self) -> bool:
        """Whether its last word is written: it may have been killed while that was shipped, and
        there is nothing to go on with."""
        so_far = RunHistory.read(self.folder / SPOOL)
        return so_far is not None and so_far.status == "FINISHED"

    @property
    def last_words(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def tell(self, number: signal.Signals) -> None:
        """A signal for all of its processes."""
        assert self._process
        os.killpg(self._process.pid, number)

    def finish(self) -> None:
        """Start, and come to the end in peace. Raises `RuntimeError` with the log if it fails."""
        self.start()
        if status := self.wait():
            raise RuntimeError(f"exit status {status}\n{self.last_words}")

    def _run(self, arguments: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rlexp", *arguments],
                cwd=self.folder.parent,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def in_peace(folder: Path, uri: str, *overrides: str) -> float:
    """Train without any fault; the seconds that it took."""
    began = time.monotonic()
    Training(folder, uri, *overrides).finish()
    return time.monotonic() - began
