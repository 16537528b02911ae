"""How the processes talk: by frames of JSON, in which values are plain data.

Nothing is unpickled: whatever a frame holds, reading it makes numbers, texts and containers only.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

Frame = dict[str, Any]
"""A message between the processes, as JSON has it."""
_LENGTH = struct.Struct(">I")
_CONTAINERS: dict[str, type[tuple[object, ...] | set[object] | frozenset[object]]] = {
    kind.__name__: kind for kind in (tuple, set, frozenset)
}


class FrameTooLong(Exception):
    """A frame beyond the limit."""


class Channel:
    """Frames over a socket, none of them longer than `limit` bytes when received."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self.connection = connection
        self.limit = limit
        self.deadline: float | None = None  # of time.monotonic

    def send(self, message: Frame) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone, or the deadline is past (TimeoutError).
        """
        data = json.dumps(message, separators=(",", ":")).encode()
        self._set_timeout()
        self.connection.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Any:
        """Return the next message; a `Frame`, unless the other end is the program's.

        Raises:
            EOFError: the other end is gone.
            TimeoutError: the deadline is past.
            FrameTooLong: it is beyond the limit.
            ValueError: it is no JSON.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > self.limit:
            raise FrameTooLong(f"{length} bytes, where {self.limit} are the limit")
        return json.loads(self._read(length))

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            self._set_timeout()
            part = self.connection.recv(min(size, 1 << 16))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _set_timeout(self) -> None:
        """Give the socket, whose timeouts are for one call each, the time until the deadline."""
        if self.deadline is None:
            return
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.connection.settimeout(remaining)


def to_wire(value: object, keep: Callable[[object], Frame]) -> object:
    """Return a value as JSON: what JSON lacks becomes a dictionary of one entry, named by its type.

    Of a subclass, what the base class sees is taken. `keep` makes an entry of an object of any type
    but numbers, texts, bytes and containers, which stays in this process.

    >>> to_wire({"a": (1, 2.0)}, keep=lambda other: {"object": 0})
    {'dict': [['a', {'tuple': [1, 2.0]}]]}
    """
    # Subclasses are the program's own and may lie: only what the base class sees is taken.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int(value)
        # Python reads no longer decimal numbers than of 4300 digits; hexadecimal ones it does.
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


def from_wire(data: Any, resolve: Callable[[str, Any], object]) -> Any:
    """Return the value that `to_wire` has made data of.

    The data may be anything. `resolve` finds the object behind an entry that `keep` has made, from
    its name and number.

    Raises:
        ValueError, TypeError: data that no value makes.

    >>> from_wire({"dict": [["a", {"tuple": [1, 2.0]}]]}, resolve=lambda name, number: None)
    {'a': (1, 2.0)}
    """
    if isinstance(data, list):
        return [from_wire(item, resolve) for item in data]
    if not isinstance(data, dict):
        return data
    ((name, content),) = data.items()
    if name in _CONTAINERS:
        return _CONTAINERS[name](from_wire(item, resolve) for item in content)
    if name == "dict":
        return {from_wire(key, resolve): from_wire(value, resolve) for key, value in content}
    if name == "int":
        return int(content, 16)
    if name == "bytes":
        return bytes.fromhex(content)
    if name == "complex":
        return complex(*content)
    return resolve(name, content)
