"""Sandboxes as rewards use them: which means, one pool for all with the same limits, what fails."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

from rlexp.runtime.device import available_cores
from rlexp.sandbox.choice import obstacle, strongest
from rlexp.sandbox.limits import Limits
from rlexp.sandbox.means import IN_WORDS, STRONGEST_FIRST, Means
from rlexp.sandbox.pool import SandboxPool
from rlexp.sandbox.worker import CannotStart
from rlexp.spec.errors import Problem, RunFailed, UserError

Sandbox = Literal["auto", "bubblewrap", "namespaces", "rlimits"]
_INSTALL = "Install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap, …)"


def sandbox_problems(choice: Sandbox) -> list[Problem]:
    """Return why nothing shuts programs in by the chosen means; nothing where it does."""
    if choice == "auto":
        if strongest():
            return []
        tried = ", ".join(f"{means}: {obstacle(means)}" for means in STRONGEST_FIRST)
        got = f"auto, where nothing shuts programs in ({tried})"
    else:
        why = obstacle(choice)
        if why is None:
            return []
        got = f"{choice}, which does not work here: {why}"
    remedy = f"{_INSTALL}, or run on another machine. Knowingly: reward.sandbox=rlimits, "
    remedy += "under which programs can read what this user can read."
    return [Problem("reward.sandbox", got, "a sandbox that works", remedy)]


def sandbox_in_words(choice: Sandbox) -> str:
    """Return the means in force, in words for a card.

    Raises:
        UserError: no sandbox works.
    """
    return IN_WORDS[_means(choice)]


def shared_pool(
    choice: Sandbox, limits: Limits, workers: int | None, packages: tuple[str, ...] = ()
) -> SandboxPool:
    """Return the pool of all rewards with the same limits and packages.

    Raises:
        UserError: no sandbox works.
    """
    return _pool(_means(choice), limits, workers, packages, os.getpid())


@contextmanager
def sandbox_failures(reward: str) -> Iterator[None]:
    """Raise `RunFailed` where the sandbox of a reward breaks down within the block."""
    try:
        yield
    except (CannotStart, ConnectionError) as error:
        raise RunFailed(
            f"the sandbox of the reward {reward} broke down: {error}",
            "a machine without memory or processes left, or a means that was taken away",
            "look at the machine, or choose another reward.sandbox",
        ) from error


def _means(choice: Sandbox) -> Means:
    if problems := sandbox_problems(choice):
        raise UserError(problems)
    means = strongest() if choice == "auto" else choice
    assert means is not None  # otherwise there were problems
    return means


@lru_cache(maxsize=4)
def _pool(
    means: Means, limits: Limits, workers: int | None, packages: tuple[str, ...], process: int
) -> SandboxPool:
    """Return a pool; a forked process needs its own."""
    pool = SandboxPool(means, limits, workers or _cores(), packages)
    atexit.register(pool.close)
    return pool


def _cores() -> int:
    """Return the cores for this process, of a run that may have several on this machine."""
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
