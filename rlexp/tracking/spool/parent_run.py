"""`parent.json` in a sweep's folder: how a trial, in whatever process, finds its sweep's run."""

from __future__ import annotations

import json
from pathlib import Path

PARENT = "parent.json"


def parent_run(sweep_folder: Path) -> str | None:
    """The sweep's MLflow run; None when it has none, or when MLflow has not answered yet."""
    path = sweep_folder / PARENT
    return json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else None


def keep_parent_run(sweep_folder: Path, run_id: str) -> None:
    """Tell the trials; what is there is replaced in one step."""
    draft = sweep_folder / f"{PARENT}.new"
    draft.write_text(json.dumps({"run_id": run_id}), encoding="utf-8")
    draft.replace(sweep_folder / PARENT)
