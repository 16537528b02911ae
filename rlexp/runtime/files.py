"""Files that are whole or not there, and files that are on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a UTF-8 file in one step: whoever reads meanwhile finds the old text or the new one.

    `durable` waits, for milliseconds, until a power cut cannot leave an empty file either.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    if durable:
        fsync_path(draft)
    draft.replace(path)


def fsync_path(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's list of names: milliseconds.

    Raises:
        OSError: the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
