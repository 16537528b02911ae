"""A command's exit status, and what it says of an error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rlexp.runtime.signals import Terminated, sigterm_raises
from rlexp.spec.errors import RunFailed, UserError

EXIT_INTERRUPTED = 130


def import_from_here() -> None:
    """Let the current folder be imported from: a user's own reward function may stand in it."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def reported(job: Callable[[], None]) -> int:
    """Do a job that ends in a run, print what went wrong, and return the exit status.

    The last line says how to go on with a run that had begun.
    """
    try:
        with sigterm_raises():
            job()
        return 0
    except UserError as error:
        count = len(error.problems)
        return _report(
            f"{count} {'thing' if count == 1 else 'things'} to put right\n\n{error}", error
        )
    except RunFailed as error:
        return _report(f"the run failed\n\n{error}", error)
    except KeyboardInterrupt as error:
        return _report("interrupted", error)
    except Terminated as error:
        _report(str(error), error)
        raise


def _report(text: str, error: BaseException) -> int:
    for line in (text, *getattr(error, "__notes__", ())):
        print(f"rlexp: {line}", file=sys.stderr)
    return getattr(error, "exit_status", EXIT_INTERRUPTED)
