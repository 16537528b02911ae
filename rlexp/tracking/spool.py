"""The spool: everything that a run tells, one JSON line an event, written before anything else.

Appending costs microseconds, so training never waits for a tracking server, and what stands in the
spool survives the process. `Sent` remembers beside it how far the events have come on their way to
MLflow; the two files are all that another process needs to go on.

Each event has `t` (milliseconds since 1970) and `kind`; a kind's other fields are its own. Metrics
that are not finite stand as the strings "NaN", "Infinity" and "-Infinity": JSON has no word for
them, they must not be lost, and `float()` reads them back.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SPOOL = "spool.jsonl"
SENT = "spool.sent"


class Spool:
    """Appends events to the spool. Any thread may append; readers never see half an event.

    A line is handed to the operating system at once: it outlives a killed process, though not a
    power cut.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        if _is_torn(path):
            self._file.write(b"\n")  # so that the next event starts a line

    def append(self, event: dict[str, Any]) -> None:
        """Write one event. Raises `OSError` when the disk is full."""
        line = _to_json(event).encode() + b"\n"
        # One write to a file opened for appending is not interleaved with those of other threads.
        written = self._file.write(line)
        if written != len(line):
            raise OSError(f"the disk took {written} of {len(line)} bytes of an event: is it full?")

    def close(self) -> None:
        self._file.close()


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Each complete event from byte `offset` on, with the offset behind it.

    A last line without its end is still being written and is left for later; a complete line that
    is no JSON was torn by a kill and is passed over.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            if not line.endswith(b"\n"):
                return
            try:
                event = json.loads(line)
            except ValueError:
                continue
            yield event, offset


@dataclass(frozen=True)
class Sent:
    """How far a spool has been sent, and to which MLflow run."""

    offset: int = 0
    """Bytes of the spool that MLflow has."""
    run_id: str | None = None
    """The MLflow run; None until it exists."""
    refused: int = 0
    """Events that MLflow would never take, passed over after a warning."""

    @classmethod
    def load(cls, path: Path) -> Sent:
        """What the file says; the beginning when there is none."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file in one step: a reader finds the old state or the new one."""
        draft = path.with_name(path.name + ".new")
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.replace(path)


def _is_torn(path: Path) -> bool:
    """Whether the last line lacks its end, because its writer was killed."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _to_json(event: dict[str, Any]) -> str:
    try:
        return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_named_infinities(event), ensure_ascii=False, separators=(",", ":"))


def _named_infinities(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _named_infinities(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named_infinities(inner) for inner in value]
    return value
