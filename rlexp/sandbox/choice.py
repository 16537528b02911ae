"""The strongest means that works here, found by trying."""

from __future__ import annotations

from functools import cache

from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import STRONGEST_FIRST, Means, known_obstacle
from rlexp.sandbox.worker import CannotStart, Worker

_TIME = {"cpu_seconds": 1, "wall_seconds": 2.0}
_SMALL_LIMITS = Limits(
    **_TIME, memory_mib=256, disk_mib=1, output_kib=1, processes=2, open_files=16
)


@cache
def obstacle(means: Means) -> str | None:
    """Say why the means does not work here; None when a program has run under it."""
    if why := known_obstacle(means):
        return why
    try:
        worker = Worker(means, _SMALL_LIMITS)
    except CannotStart as error:
        return str(error)
    try:
        request = {"code": "x = 1", "setup": "", "style": False, "stdin": None}
        answer = worker.ask({**request, "tests": ["assert x == 1"]}, _SMALL_LIMITS.wall_seconds)
    except ConnectionError as error:
        return str(error)
    finally:
        worker.close()
    return None if answer and answer["verdicts"] == [[True, ""]] else "a program does not run in it"


def strongest() -> Means | None:
    """Return the first of the isolating means that works; None where none does."""
    return next((means for means in STRONGEST_FIRST if obstacle(means) is None), None)
