"""The cache of models that were made or fetched: each is made once, and is whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, UserError

__all__ = ["cache_folder", "ensure_writable", "make_once"]


def make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder, made by `make(draft)` if it is not there.

    Processes that ask at the same time make it once, and one that is killed half-way leaves nothing
    that could be mistaken for it.
    """
    if folder.is_dir():
        return folder
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    waits = announced_wait(f"{folder}, which is made or fetched")
    with waits, FileLock(folder.parent / f"{folder.name}.lock"):
        if not folder.is_dir():
            for leftover in folder.parent.glob(f"{folder.name}.draft-*"):
                shutil.rmtree(leftover)
            prefix = f"{folder.name}.draft-"
            with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as place:
                draft = Path(place, folder.name)
                draft.mkdir()
                make(draft)
                draft.rename(folder)
    return folder


def ensure_writable(folder: Path) -> None:
    """Make the folder in the cache if it is not there.

    Raises:
        UserError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            Problem(
                "RLEXP_CACHE",
                f"{folder} ({error.strerror})",
                "a folder that can be written to, for models that are made here",
                "set the environment variable RLEXP_CACHE to such a folder",
            )
        ) from error


def cache_folder() -> Path:
    """Return `$RLEXP_CACHE`, or else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("RLEXP_CACHE") or platformdirs.user_cache_dir("rlexp"))
