"""The spool: everything that a run tells, one JSON line an event, written before anything else.

Appending costs microseconds, so training never waits for a tracking server, and what stands in the
spool survives the process. `UploadState` remembers beside it how far the events have come on their
way to MLflow; the two files are all that another process needs to go on.

Each event has `t` (milliseconds since 1970) and `kind`; a kind's other fields are its own. Metrics
that are not finite stand as the strings "NaN", "Infinity" and "-Infinity": JSON has no word for
them, they must not be lost, and `float()` reads them back.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from rlexp.runtime.files import write_atomically
from rlexp.tracking.secrets import redacted_values

Event = dict[str, Any]
"""One line of the spool."""

_KIND_BYTES = 64  # at the beginning of a line, in which its kind stands
_CHECKED_BYTES = 4096  # before an offset, by which a spool is recognised


class Spool:
    """Appends events to the spool. Any thread may append; readers never see half an event.

    A line is handed to the operating system at once: it outlives a killed process. What a power cut
    leaves of the last second is for `read_events` to make sense of; those who may wait call
    `rlexp.runtime.files.fsync_path`.
    """

    def __init__(self, path: Path) -> None:
        # Without a buffer: an event that waits in the process dies with it.
        self._file = path.open("ab", buffering=0)
        if _is_torn(path):
            self._file.write(b"\n")  # so that the next event starts a line

    def append(self, event: Event) -> None:
        """Write one event. Raises `OSError` when the disk is full."""
        line = _to_json(event).encode() + b"\n"
        # One write to a file opened for appending is not interleaved with those of other threads.
        written = self._file.write(line)
        if written != len(line):
            raise OSError(f"the disk took {written} of {len(line)} bytes of an event: is it full?")

    def record(self, kind: str, **fields: Any) -> None:
        """Write an event of this moment, secrets taken out. Raises as `append`."""
        self.append({"t": now_ms(), "kind": kind, **redacted_values(fields)})

    def close(self) -> None:
        """Close the file; nothing is appended any more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def now_ms() -> int:
    """Return the milliseconds since 1970, as events and MLflow have them."""
    return time.time_ns() // 1_000_000


def read_events(
    path: Path, offset: int = 0, kinds: Collection[str] = ()
) -> Iterator[tuple[Event, int]]:
    """Yield each complete event from byte `offset` on, with the offset behind it.

    Of a long spool a few `kinds` are found much faster than all events.

    A last line without its end is still being written and is left for later; a complete line that
    is no event was torn by a kill or a power cut and is passed over.
    """
    marks = [f'"kind":"{kind}"'.encode() for kind in kinds]
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            if not line.endswith(b"\n"):
                return
            # Whoever wants a few kinds does not pay for parsing thousands of metrics.
            if marks and not any(mark in line[:_KIND_BYTES] for mark in marks):
                continue
            event = _parsed(line)
            if event is not None:
                yield event, offset


def torn_lines(path: Path) -> int:
    """Count lines that no longer hold an event; one that is still being written is not counted."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.endswith(b"\n") and _parsed(line) is None)


@dataclass(frozen=True)
class UploadState:
    """How far a spool has been sent, and to which MLflow run. Its fields are those of the file."""

    offset: int = 0
    """Bytes of the spool that MLflow has."""
    run_id: str | None = None
    """The MLflow run; None until it exists."""
    refused: int = 0
    """Events that MLflow would never take, passed over after a warning."""
    aside: tuple[int, ...] = ()
    """Where the deferred events begin: they wait for the artifact store, while those behind them
    are sent."""
    check: int | None = None
    """CRC-32 of the spool's last bytes before `offset`."""
    lost: bool = False
    """Whether the spool has lost lines that MLflow may have: what is told again comes twice."""

    @classmethod
    def load(cls, path: Path) -> UploadState:
        """Return what the file says; the beginning without one, or when a power cut ruined it.

        To begin again is safe: sending twice doubles nothing.
        """
        try:
            state = cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls()
        return replace(state, aside=tuple(state.aside))

    def save(self, path: Path) -> None:
        """Replace the file in one step: a reader finds the old state or the new one."""
        write_atomically(path, json.dumps(asdict(self)))

    def is_behind(self, spool: Path) -> bool:
        """Whether the spool holds events that have not been sent."""
        state = self.validated(spool)
        return bool(state.aside) or next(read_events(spool, state.offset), None) is not None

    def advanced_to(self, offset: int, spool: Path) -> UploadState:
        """Return the state in which everything before `offset` has been sent."""
        return replace(self, offset=offset, check=_checksum(spool, offset))

    def validated(self, spool: Path) -> UploadState:
        """Return the state itself, or the beginning where the spool is not the one that was sent.

        A power cut can take lines that MLflow has already. Whatever is appended then stands before
        the remembered offset, and would never be sent.
        """
        if self.offset == 0:
            return self
        is_same = _checksum(spool, self.offset) == self.check
        return self if is_same else replace(self, offset=0, aside=(), check=None, lost=True)


def _checksum(path: Path, offset: int) -> int | None:
    """Return the CRC-32 of the last bytes before an offset; None where the file is not so long."""
    begin = max(0, offset - _CHECKED_BYTES)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            last_bytes = file.read(offset - begin)
    except FileNotFoundError:
        return None
    return zlib.crc32(last_bytes) if len(last_bytes) == offset - begin else None


def _parsed(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _is_torn(path: Path) -> bool:
    """Whether the last line lacks its end, because its writer was killed."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _to_json(event: Event) -> str:
    try:
        return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:  # there is a NaN or an infinity: rare, so only then is it looked for
        return json.dumps(_infinities_as_text(event), ensure_ascii=False, separators=(",", ":"))


def _infinities_as_text(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _infinities_as_text(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_infinities_as_text(inner) for inner in value]
    return value
