"""The process that pure-Python terms run in: it scores what comes through a pipe until that closes.

It imports the terms' own modules and nothing else; torch is not among them.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from multiprocessing.connection import Connection

from rlexp.scoring.term_call import call, error_text
from rlexp.spec.errors import RunFailed, UserError

PR_SET_PDEATHSIG = 1


def work(pipe: Connection) -> None:
    """Load the terms that come first, and answer each batch with a `TermResult` or an exception."""
    try:
        terms = pipe.recv()
    except EOFError:
        return
    except Exception as error:
        pipe.send(error_text(error))
        return
    pipe.send(None)
    while True:
        try:
            name, batch, allow_missing = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(call(terms[name], batch, allow_missing))
        except (UserError, RunFailed) as error:
            pipe.send(error)


def _die_with_parent() -> None:
    """End with the run, also in the middle of a batch; between batches the closed pipe does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's, which ends its workers
    with Connection(int(sys.argv[1])) as pipe_to_run:
        work(pipe_to_run)
