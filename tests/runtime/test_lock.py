"""The lock that tells the living from the dead."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlexp.runtime.lock import LOCK, Held, is_held, lock

ROOT = Path(__file__).parents[2]

HOLDS = """
import os, sys, time
from pathlib import Path
from rlexp.runtime.lock import lock
with lock(Path(sys.argv[1])):
    if sys.argv[2] == "fork" and os.fork() == 0:
        print("child", os.getpid(), flush=True)
        time.sleep(600)
    if sys.argv[2] != "fork":
        print("parent", os.getpid(), flush=True)
    time.sleep(600)
"""


def holder(folder: Path, how: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds the folder's lock, and the id that it (or its child) printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), how],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout
    return process, int(process.stdout.readline().split()[1])


def test_one_at_a_time_also_within_a_process(tmp_path: Path) -> None:
    """Record locks (`lockf`) would let the same process in twice, and go at any close."""
    assert not is_held(tmp_path)
    assert not (tmp_path / LOCK).exists()
    with lock(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(Held, match=f"process {os.getpid()}"), lock(tmp_path):
            pass
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with lock(tmp_path):
        pass


def test_killed_process_lets_go(tmp_path: Path) -> None:
    """A file with a process id in it, as locks often are, would stay behind."""
    process, pid = holder(tmp_path, "alone")
    with pytest.raises(Held) as caught, lock(tmp_path):
        pass
    assert caught.value.process == f"process {pid}"
    process.kill()
    process.wait()
    with lock(tmp_path):
        pass


def test_worker_that_outlives_its_parent_does_not_hold(tmp_path: Path) -> None:
    """A forked worker shares its parent's lock: the run would seem alive as long as it hangs."""
    process, child = holder(tmp_path, "fork")
    assert is_held(tmp_path)
    process.kill()
    process.wait()
    try:
        assert not is_held(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_asking_neither_writes_nor_takes(tmp_path: Path) -> None:
    """A question that took the lock for itself would let two that only ask see each other alive."""
    with lock(tmp_path):
        pass
    (tmp_path / LOCK).chmod(0o444)
    before = (tmp_path / LOCK).stat()
    with (tmp_path / LOCK).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another process that asks right now
        assert not is_held(tmp_path)
    after = (tmp_path / LOCK).stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def test_folder_that_is_gone_is_not_made(tmp_path: Path) -> None:
    """Whoever ends dead runs would make the folders again that others have removed."""
    with pytest.raises(FileNotFoundError), lock(tmp_path / "gone"):
        pass
    assert not (tmp_path / "gone").exists()
