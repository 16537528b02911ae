"""The process's environment: no telemetry, no library chatter, the hub closed, polite threads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NO_TELEMETRY = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
QUIET = {
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else each fork warns; batches here are small
    "TRANSFORMERS_VERBOSITY": "error",
}

SPINS = "50000"
"""Turns of a waiting thread; libgomp's own count is 300,000. With a tenth of that, runs alone begin
to wait for threads to wake up: with 1000 a step takes twice as long (`benchmarks/threads.py`)."""


def silence_libraries() -> None:
    """Turn telemetry and library chatter off, before the libraries are imported.

    What the user has set in the environment stands.
    """
    for name, value in {**NO_TELEMETRY, **QUIET}.items():
        os.environ.setdefault(name, value)
    libraries = r"(transformers|trl|torch|peft|accelerate|huggingface_hub|mlflow)(\..*)?$"
    warnings.filterwarnings("ignore", module=libraries)


def share_cores() -> None:
    """Let threads that wait for each other sleep soon; before torch is imported.

    torch's OpenMP on Linux is libgomp, whose threads turn in a loop for milliseconds before they
    sleep. Where another run, or anything else, wants the cores, the one that turns keeps its core
    from the one that it waits for, and steps take many times as long (`benchmarks/threads.py`).
    Waits in the middle of a step are shorter than the turns that are left. What the user has set
    in the environment stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


@contextmanager
def hub_closed() -> Iterator[None]:
    """Refuse connections to the hub inside the block: everything from there is here already.

    Tokenizers and adapters ask the hub about a model's origin when they are saved, even for a
    local folder; a run that needs no network must not depend on those answers.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
