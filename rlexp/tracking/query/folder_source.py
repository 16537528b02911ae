"""Records read from the runs' own folders, without any tracking store.

The spool has everything that MLflow gets, so a run of `tracking=none`, or one whose server is gone,
is compared like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.runtime.run_folder import CONFIG, SENT, SPOOL
from rlexp.tracking.query.record import Record
from rlexp.tracking.spool.mlflow_writer import SPOOL_TAG
from rlexp.tracking.spool.spool import Event, UploadState, read_events


def run_folders(folder: Path) -> list[Path]:
    """Return the folder itself if it is a run's, else the runs' folders of a sweep or a day.

    A sweep has a spool of its own, but no config.
    """
    for pattern in ("", "*/", "*/*/"):
        spools = folder.glob(f"{pattern}{SPOOL}")
        if runs := [spool.parent for spool in spools if (spool.parent / CONFIG).is_file()]:
            return sorted(runs, key=_trial_order)
    return []


def _trial_order(run: Path) -> tuple[str, int, str]:
    """Trial 10 after trial 2."""
    return str(run.parent), int(run.name) if run.name.isdigit() else 0, run.name


class FolderRecords:
    """The runs of folders, with the methods of `Records` that read a run."""

    def __init__(self) -> None:
        self._events: dict[Path, list[Event]] = {}

    def read(self, folder: Path) -> Record:
        """Return the run of a folder that holds a spool; RUNNING if its end is not in it."""
        folder = folder.resolve()
        borders = self._events_of_kind(folder, "start", "end")
        has_ended = bool(borders) and borders[-1]["kind"] == "end"
        unknown: Event = {"kind": "start", "id": folder.name, "name": folder.name, "tags": {}}
        start = next((event for event in borders if event["kind"] == "start"), unknown)
        tags, params = {**start["tags"], SPOOL_TAG: start["id"]}, {}
        for event in self._events_of_kind(folder, "tags"):
            tags |= event["tags"]
        for event in self._events_of_kind(folder, "params"):
            params |= event["params"]
        return Record(
            run_id=UploadState.load(folder / SENT).run_id or start["id"],
            name=start["name"],
            experiment_id="",
            status=borders[-1]["status"] if has_ended else "RUNNING",
            started=start.get("t", 0),
            ended=borders[-1]["t"] if has_ended else None,
            folder=folder,
            parent=start.get("parent"),
            params={name: str(value) for name, value in params.items()},
            metrics={name: series[-1][1] for name, series in self._points(folder).items()},
            tags={name: str(value) for name, value in tags.items()},
        )

    def history(self, record: Record) -> dict[str, list[tuple[int, float]]]:
        """Return what `Records.history` does."""
        points = self._points(_folder(record))
        return {name: points[name] for name in sorted(points) if not name.startswith("system/")}

    def _points(self, folder: Path) -> dict[str, list[tuple[int, float]]]:
        values: dict[str, dict[int, float]] = {}
        for event in self._events_of_kind(folder, "metrics"):
            for name, value in event["metrics"].items():
                values.setdefault(name, {})[event["step"]] = float(value)
        return {name: sorted(series.items()) for name, series in values.items()}

    def samples(
        self, record: Record, step: int | None = None, name: str = "samples"
    ) -> list[dict[str, Any]]:
        """Return what `Records.samples` does."""
        tables = {
            event["step"]: event
            for event in self._events_of_kind(_folder(record), "table")
            if event["file"].startswith(f"{name}/")
        }
        table = tables.get(max(tables, default=0) if step is None else step)
        if table is None:
            return []
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def artifact(self, record: Record, path: str) -> Path:
        """Return a file that is an artifact at the top, where it stands in the folder.

        Raises `FileNotFoundError` where there is no such artifact, or it is gone.
        """
        folder = _folder(record)
        for event in reversed(self._events_of_kind(folder, "artifact")):
            place = folder / event["path"]
            if event["folder"] is None and place.name == path and place.exists():
                return place
        raise FileNotFoundError(f"the run {record.name} has no artifact {path}")

    def _events_of_kind(self, folder: Path, *kinds: str) -> list[Event]:
        if folder not in self._events:
            self._events[folder] = [event for event, _ in read_events(folder / SPOOL)]
        return [event for event in self._events[folder] if event["kind"] in kinds]


def _folder(record: Record) -> Path:
    if record.folder is None:
        raise ValueError(f"the run {record.name} has no folder")
    return record.folder
