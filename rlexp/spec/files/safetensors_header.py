"""Headers of safetensors files, read without loading anything.

A file is eight bytes (little-endian: the header's length), the header as JSON, and the tensors'
bytes one after the other (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

LONGEST_HEADER = 100_000_000
"""Bytes; what the format allows."""

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8,
    "BOOL": 8, "C64": 64,
}  # fmt: skip
"""Of one number, by the format's name of its type."""

OTHER_FORMATS = {
    b"version https://git-lfs": (
        "a git-LFS pointer instead of weights",
        "Fetch them: git -C {folder} lfs pull",
    ),
    b"PK\x03\x04": ("a pickled checkpoint under another name", "{resave}"),
    b"\x80\x02": ("a pickled checkpoint under another name", "{resave}"),
    b"GGUF": ("a GGUF file under another name", "{resave}"),
    b"<": ("a page of HTML instead of weights", "{again}"),
}
"""What files begin with that are no safetensors: what they are, and what to do."""

RESAVE = "Write it anew by save_pretrained, where it was trained."
AGAIN = "Copy or download it again: it is not whole."


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file."""

    dtype: str
    """In the format's own words, such as `BF16`."""
    shape: tuple[int, ...]


class BrokenFile(Exception):
    """A file that is not whole safetensors: what it is instead, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(what)


def stored_tensors(file: Path) -> dict[str, StoredTensor]:
    """Return the tensors that a safetensors file holds, by name.

    Raises:
        BrokenFile: another format, a file that was cut off, a header that contradicts the file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        beginning = stream.read(64)
        _refuse_other_formats(beginning, file)
        length = int.from_bytes(beginning[:8], "little")
        if size < 8 or length > size - 8:
            raise BrokenFile(f"cut off within its header ({size:,} bytes)", AGAIN)
        if length > LONGEST_HEADER:
            raise BrokenFile("no safetensors file", RESAVE)
        stream.seek(8)
        text = stream.read(length)
    try:
        header = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BrokenFile(f"a header that is no JSON ({error})", AGAIN) from error
    if not isinstance(header, dict):
        raise BrokenFile("a header that lists no tensors", RESAVE)
    header.pop("__metadata__", None)
    return _checked(header, size - 8 - length)


def _refuse_other_formats(beginning: bytes, file: Path) -> None:
    if not beginning:
        raise BrokenFile("an empty file", AGAIN)
    folder = shlex.quote(str(file.parent))
    for magic, (what, remedy) in OTHER_FORMATS.items():
        if beginning.startswith(magic) and not beginning[8:9] == b"{":
            raise BrokenFile(what, remedy.format(folder=folder, resave=RESAVE, again=AGAIN))


def _checked(header: dict[str, Any], room: int) -> dict[str, StoredTensor]:
    """Return the tensors of a header whose file has `room` bytes behind it."""
    tensors: dict[str, StoredTensor] = {}
    needed = 0
    for name, entry in header.items():
        try:
            tensor = StoredTensor(entry["dtype"], tuple(map(int, entry["shape"])))
            start, end = map(int, entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenFile(f"a header whose entry {name} cannot be read", AGAIN) from error
        if tensor.dtype not in BITS:
            raise BrokenFile(f"{name} of a type that is unknown ({tensor.dtype})", RESAVE)
        if (end - start) * 8 != prod(tensor.shape) * BITS[tensor.dtype]:
            got = f"{name} in {end - start:,} bytes, of {tensor.dtype} {list(tensor.shape)}"
            raise BrokenFile(got, AGAIN)
        tensors[name], needed = tensor, max(needed, end)
    if needed > room:
        raise BrokenFile(f"cut off: {needed - room:,} of its tensors' bytes are missing", AGAIN)
    return tensors
