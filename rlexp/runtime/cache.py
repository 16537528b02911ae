"""The cache of models that were made or fetched: each is made once, and is whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, UserError


def make_once(
    folder: Path,
    make: Callable[[Path], None],
    is_whole: Callable[[Path], bool] = Path.is_dir,
    family: str = "",
) -> Path:
    """Return the folder, made by `make(draft)` if it is not there, or not whole.

    Processes that ask at the same time make it once, and one that is killed half-way leaves nothing
    that could be mistaken for it. Of a family, `FAMILY-NAME`, one folder is made at a time, and
    whoever makes the next one clears up behind the dead makers of all.
    """
    if is_whole(folder):
        return folder
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    waits = announced_wait(f"{folder}, which is made or fetched")
    with waits, FileLock(folder.parent / f"{family or folder.name}.lock"):
        if not is_whole(folder):
            makers = f"{family}-*" if family else folder.name
            for leftover in folder.parent.glob(f"{makers}.draft-*"):
                shutil.rmtree(leftover)
            if folder.exists():
                shutil.rmtree(folder)
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
        got = f"{folder} ({error.strerror})"
        want = "a folder that can be written to, for models that are made here"
        remedy = "set the environment variable RLEXP_CACHE to such a folder"
        raise UserError(Problem("RLEXP_CACHE", got, want, remedy)) from error


def cache_folder() -> Path:
    """Return `$RLEXP_CACHE`, or else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("RLEXP_CACHE") or platformdirs.user_cache_dir("rlexp"))
