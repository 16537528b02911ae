"""What crosses between the processes: frames of JSON, and values as plain data.

Nothing is unpickled: whatever a frame holds, reading it makes numbers, texts and containers only.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

_HEAD = struct.Struct(">I")
_CONTAINERS = {"tuple": tuple, "set": set, "frozenset": frozenset}


class TooLong(Exception):
    """A frame beyond the limit."""


class Channel:
    """Frames over a socket, none of them longer than `limit` bytes when received."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self.connection = connection
        self.limit = limit
        self.deadline: float | None = None  # of time.monotonic

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone, or the deadline is past (TimeoutError).
        """
        data = json.dumps(message, separators=(",", ":")).encode()
        self._limit_time()
        self.connection.sendall(_HEAD.pack(len(data)) + data)

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError: the other end is gone.
            TimeoutError: the deadline is past.
            TooLong: it is beyond the limit.
            ValueError: it is no JSON.
        """
        (length,) = _HEAD.unpack(self._read(_HEAD.size))
        if length > self.limit:
            raise TooLong(f"{length} bytes, where {self.limit} are the limit")
        return json.loads(self._read(length))

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            self._limit_time()
            part = self.connection.recv(min(size, 1 << 16))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _limit_time(self) -> None:
        if self.deadline is None:
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)


def to_wire(value: Any, keep: Callable[[Any], dict[str, Any]]) -> Any:
    """A value as JSON: what JSON lacks becomes a dictionary of one entry, named by its type.

    Args:
        value: None, a number, a text, bytes, a container of such; of a subclass, what the base
            class sees.
        keep: makes an entry of an object of any other type, which stays in this process.

    >>> to_wire({"a": (1, 2.0)}, keep=lambda other: {"object": 0})
    {'dict': [['a', {'tuple': [1, 2.0]}]]}
    """
    if value is None or isinstance(value, bool | float):
        return value if value is None or isinstance(value, bool) else float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int(value)
        return number if number.bit_length() < 64 else {"int": hex(number)}
    if isinstance(value, list):
        return [to_wire(item, keep) for item in value]
    for name, kind in _CONTAINERS.items():
        if isinstance(value, kind):
            return {name: [to_wire(item, keep) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[to_wire(k, keep), to_wire(v, keep)] for k, v in dict.items(value)]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    return keep(value)


def decoded(data: Any, kept: Callable[[str, Any], Any]) -> Any:
    """The value that `to_wire` has made data of.

    Args:
        data: from a frame; it may be anything.
        kept: finds the object behind an entry that `keep` has made, from its name and number.

    Raises:
        ValueError, TypeError: data that no value makes.

    >>> decoded({"dict": [["a", {"tuple": [1, 2.0]}]]}, kept=lambda name, number: None)
    {'a': (1, 2.0)}
    """
    if isinstance(data, list):
        return [decoded(item, kept) for item in data]
    if not isinstance(data, dict):
        return data
    ((name, content),) = data.items()
    if name in _CONTAINERS:
        return _CONTAINERS[name](decoded(item, kept) for item in content)
    if name == "dict":
        return {decoded(key, kept): decoded(value, kept) for key, value in content}
    if name == "int":
        return int(content, 16)
    if name == "bytes":
        return bytes.fromhex(content)
    if name == "complex":
        return complex(*content)
    return kept(name, content)
