"""Runs read from their own folders: what `Records` knows of a run, without any tracking store.

The spool has everything that MLflow gets, so a run of `tracking=none`, or one whose server is gone,
is compared like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.runtime.run_folder import CONFIG, SENT, SPOOL
from rlexp.tracking.query.record import Record
from rlexp.tracking.spool.mlflow_writer import SPOOL_TAG
from rlexp.tracking.spool.spool import UploadState, read_events

Event = dict[str, Any]


def run_folders(folder: Path) -> list[Path]:
    """The folder itself if it is a run's, else the runs' folders in it, of a sweep or of a day.

    A sweep has a spool of its own, but no config.
    """
    for pattern in ("", "*/", "*/*/"):
        spools = folder.glob(f"{pattern}{SPOOL}")
        if found := [spool.parent for spool in spools if (spool.parent / CONFIG).is_file()]:
            return sorted(found, key=_order)
    return []


def _order(run: Path) -> tuple[str, int, str]:
    """Trial 10 after trial 2."""
    return str(run.parent), int(run.name) if run.name.isdigit() else 0, run.name


class FolderRecords:
    """The runs of folders, with the methods of `Records` that read a run."""

    def __init__(self) -> None:
        self._events: dict[Path, list[Event]] = {}

    def read(self, folder: Path) -> Record:
        """The run of a folder that holds a spool; RUNNING if its end was never told."""
        folder = folder.resolve()
        events = self._of(folder)
        starts = [event for event in events if event["kind"] == "start"]
        last = [event for event in events if event["kind"] in ("start", "end")]
        over = bool(last) and last[-1]["kind"] == "end"
        begun = starts[0] if starts else {"id": folder.name, "name": folder.name, "tags": {}}
        tags = {name: str(value) for name, value in begun["tags"].items()}
        tags[SPOOL_TAG] = begun["id"]
        for event in self._kind(folder, "tags"):
            tags |= {name: str(value) for name, value in event["tags"].items()}
        params = {}
        for event in self._kind(folder, "params"):
            params |= {name: str(value) for name, value in event["params"].items()}
        points = self._points(folder)
        return Record(
            run_id=UploadState.load(folder / SENT).run_id or begun["id"],
            name=begun["name"],
            experiment_id="",
            status=last[-1]["status"] if over else "RUNNING",
            started=begun.get("t", 0),
            ended=last[-1]["t"] if over else None,
            folder=folder,
            parent=begun.get("parent"),
            params=params,
            metrics={name: found[-1][1] for name, found in points.items()},
            tags=tags,
        )

    def history(self, record: Record) -> dict[str, list[tuple[int, float]]]:
        """As `Records.history`."""
        found = self._points(_folder(record))
        return {name: found[name] for name in sorted(found) if not name.startswith("system/")}

    def _points(self, folder: Path) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, dict[int, float]] = {}
        for event in self._kind(folder, "metrics"):
            for name, value in event["metrics"].items():
                found.setdefault(name, {})[event["step"]] = float(value)
        return {name: sorted(points.items()) for name, points in found.items()}

    def samples(self, record: Record, step: int | None = None) -> list[dict[str, Any]]:
        """As `Records.samples`."""
        tables = {
            event["step"]: event
            for event in self._kind(_folder(record), "table")
            if event["file"].startswith("samples/")
        }
        table = tables.get(max(tables, default=0) if step is None else step)
        if table is None:
            return []
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def artifact(self, record: Record, path: str) -> Path:
        """A file that was told as an artifact at the top, where it stands in the folder.

        Raises:
            FileNotFoundError: no such artifact was told, or it is gone.
        """
        folder = _folder(record)
        for event in reversed(self._kind(folder, "artifact")):
            place = folder / event["path"]
            if event["folder"] is None and place.name == path and place.exists():
                return place
        raise FileNotFoundError(f"the run {record.name} has no artifact {path}")

    def _kind(self, folder: Path, kind: str) -> list[Event]:
        return [event for event in self._of(folder) if event["kind"] == kind]

    def _of(self, folder: Path) -> list[Event]:
        if folder not in self._events:
            self._events[folder] = [event for event, _ in read_events(folder / SPOOL)]
        return self._events[folder]


def _folder(record: Record) -> Path:
    if record.folder is None:
        raise ValueError(f"the run {record.name} has no folder")
    return record.folder
