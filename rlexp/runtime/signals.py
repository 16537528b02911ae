"""Signals: what ends a process becomes an exception, so that `with` blocks close what they opened.

A scheduler sends SIGTERM, or beforehand SIGUSR1 where it was asked to; a terminal that closes sends
SIGHUP.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Terminated(SystemExit):
    """A signal came. The exit status is as shells count it: 128 and the signal's number.

    Args:
        signum: the signal's number.
    """

    def __init__(self, signum: int = signal.SIGTERM) -> None:
        self.signum = signum
        super().__init__(128 + signum)

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.signum).name}"


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise `Terminated` in the main thread on SIGTERM, SIGHUP and SIGUSR1.

    The former handlers come back at the end. A signal that is ignored stays so, as SIGHUP under
    `nohup`. Outside the main thread, where Python allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise Terminated(signum)

    with ExitStack() as handlers:
        for number in ENDING:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                signal.signal(number, terminate)
                # None stands for a handler that was not set from Python and cannot be put back.
                handlers.callback(signal.signal, number, before or signal.SIG_DFL)
        yield
