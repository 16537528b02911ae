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


def silence_libraries() -> None:
    """Turn telemetry and library chatter off, before the libraries are imported.

    What the user has set in the environment stands.
    """
    for name, value in {**NO_TELEMETRY, **QUIET}.items():
        os.environ.setdefault(name, value)
    libraries = r"(transformers|trl|torch|peft|accelerate|huggingface_hub|mlflow)(\..*)?$"
    warnings.filterwarnings("ignore", module=libraries)


def share_cores() -> None:
    """Let waiting threads sleep where the machine is busy already; before torch is imported.

    A thread that spins while it waits takes a core from the one it waits for, which can make steps
    several times longer; where cores are free, spinning is the faster way to wait.
    """
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
