"""Long waits said aloud: what a process waits for, and since when.

    with announced_wait("the hub"):
        download()

A line on standard error after half a minute, and again each time that the wait has doubled. Where
the same has been waited for before, it takes twice as long as then: a reward that needs a minute at
each step is told of once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_SECONDS = 30.0
"""Seconds after which a wait is told of."""

_told: dict[str, float] = {}
"""By what was waited for, the seconds of the last line about it."""


def print_line(text: str) -> None:
    """Print a line on standard error, with the process that says it where there are several."""
    rank = os.environ.get("RANK", "0")
    print(f"process {rank}: {text}" if rank != "0" else text, file=sys.stderr, flush=True)


@contextmanager
def announced_wait(
    what: str,
    *,
    remedy: str = "",
    first: float | None = None,
    say: Callable[[str], None] = print_line,
) -> Iterator[None]:
    """Tell what is waited for while the block takes long.

    Args:
        what: such as "the reward `style`"; passwords taken out.
        remedy: what can be done about it, as a sentence.
        first: seconds until the first line; None: `FIRST_SECONDS`.
        say: prints a line.
    """
    began = time.monotonic()
    over = threading.Event()

    def watch() -> None:
        pause = max(FIRST_SECONDS if first is None else first, 2 * _told.get(what, 0.0))
        while not over.wait(pause - (time.monotonic() - began)):
            seconds = time.monotonic() - began
            _told[what] = seconds
            say(f"waiting for {what} since {seconds:.0f} s{f'. {remedy}' if remedy else ''}")
            pause = 2 * seconds

    # A daemon: it must not keep an interrupted process from ending.
    thread = threading.Thread(target=watch, name="wait", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
