"""Who is alive on a run's folder: a lock that the system lets go of when its process dies.

    with lock(folder):
        ...  # nobody else writes to this run

`filelock` takes a `flock` on `<folder>/.lock`: SIGKILL, a power cut or a full disk cannot leave it
behind, so a lock that can be taken means that nobody is alive on the run. A forked worker that
outlives its killed parent does not keep it. The file itself stays; it says which process took the
lock last.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlexp.spec.errors import Problem, UserError

LOCK = ".lock"

_PROBE = 0.2  # seconds; `is_held` takes the lock too, for some microseconds


class Held(Exception):
    """Somebody is alive on the folder: the run itself, or whoever ships its spool."""

    def __init__(self, folder: Path, process: str) -> None:
        super().__init__(f"{folder} is in use by {process}")
        self.folder = folder
        self.process = process
        """For messages: `process 4711`."""


@contextmanager
def lock(folder: Path, timeout: float = _PROBE) -> Iterator[None]:
    """Be the only one alive on `folder`, which must exist, until the block is left.

    Raises:
        Held: somebody else is, in this process or another one, for `timeout` seconds.
        OSError: the folder is not there, or cannot be written.
    """
    from filelock import FileLock, Timeout

    if not folder.is_dir():  # filelock would make it
        raise FileNotFoundError(f"no folder {folder}")
    file_lock = FileLock(
        folder / LOCK,
        timeout=timeout,
        poll_interval=0.01,
        thread_local=False,
        fallback_to_soft=False,  # a soft lock is a file that a killed process leaves behind
        on_acquired=_write_process,
    )
    try:
        file_lock.acquire()
    except Timeout as error:
        process = (folder / LOCK).read_text(encoding="utf-8") or "unknown"
        raise Held(folder, f"process {process}") from error
    try:
        yield
    finally:
        file_lock.release()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """`lock` for what a user has asked for.

    Raises:
        UserError: somebody else is alive on the folder.
    """
    try:
        with lock(folder):
            yield
    except Held as held:
        got = f"a run that {held.process} works on"
        remedy = f"Wait for it, or end {held.process} first."
        raise UserError(Problem(str(folder), got, "a run that nobody works on", remedy)) from held


def is_held(folder: Path) -> bool:
    """Return whether somebody is alive on `folder`; changes nothing, creates nothing.

    By hand: filelock creates the file, must be allowed to write it, and knows no shared lock, so
    that two processes that only ask would each take the other for the holder.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _write_process(descriptor: int) -> None:
    """Leave this process's number in the lock file."""
    with suppress(OSError):  # a full disk takes no number, and the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
