"""Who is alive on a run's folder: a lock that the system lets go of when its process dies.

    with lock(folder):
        ...  # nobody else writes to this run

`flock` on `<folder>/.lock`: SIGKILL, a power cut or a full disk cannot leave it behind, so a lock
that can be taken means that nobody is alive on the run. The file itself stays; it says which
process took the lock last.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlexp.spec.errors import Problem, UserError

LOCK = ".lock"

_PROBE = 0.2  # seconds; `is_held` takes the lock too, for some microseconds

_mine: set[int] = set()


class Held(Exception):
    """Somebody is alive on the folder: the run itself, or whoever ships its spool."""

    def __init__(self, folder: Path, process: str) -> None:
        super().__init__(f"{folder} is in use by {process}")
        self.folder = folder
        self.process = process
        """For messages: `process 4711`."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Be the only one alive on `folder`, which must exist, until the block is left.

    Raises:
        Held: somebody else is, in this process or another one.
        OSError: the folder cannot be written.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _mine.add(descriptor)
    try:
        if not _taken(descriptor):
            raise Held(folder, f"process {os.pread(descriptor, 20, 0).decode() or 'unknown'}")
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # a full disk takes no number, and the lock holds without it
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        _mine.discard(descriptor)
        os.close(descriptor)


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
    """Whether somebody is alive on `folder`; changes nothing, creates nothing."""
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


def _taken(descriptor: int) -> bool:
    deadline = time.monotonic() + _PROBE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _close_in_child() -> None:
    """A forked worker that outlives its killed parent must not keep the parent's lock."""
    while _mine:
        os.close(_mine.pop())


os.register_at_fork(after_in_child=_close_in_child)
