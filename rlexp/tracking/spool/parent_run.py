"""`parent.json` in a sweep's folder: how a trial, in whatever process, finds its sweep's run."""

from __future__ import annotations

import json
from pathlib import Path

from rlexp.runtime.files import write_atomically
from rlexp.runtime.run_folder import PARENT


def parent_run(sweep_folder: Path) -> str | None:
    """Return the sweep's MLflow run; None when it has none, or when MLflow has not answered yet."""
    path = sweep_folder / PARENT
    return json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else None


def write_parent_run(sweep_folder: Path, run_id: str) -> None:
    """Write the sweep's MLflow run to `parent.json`, for the trials."""
    write_atomically(sweep_folder / PARENT, json.dumps({"run_id": run_id}))
