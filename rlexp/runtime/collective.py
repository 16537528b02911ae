"""What the processes of a run do together: all of them compute, the first one decides and records.

Every process must call these at the same time. With one process they cost nothing, and torch is not
imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from rlexp.runtime.device import is_main_process

T = TypeVar("T")


def broadcast(value: T) -> T:
    """Return the first process's value in every process; it must be picklable."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def compute_on_first(compute: Callable[[], T]) -> T:
    """Return in every process what `compute` gives in the first one, the only one to call it.

    For what must not be done twice, such as asking a judge that costs money. An exception leaves
    the first process, and the launcher ends the others, which wait here.
    """
    # The others' None is replaced by the first process's value.
    return broadcast(compute() if is_main_process() else None)  # pyright: ignore[reportReturnType]
