"""The disk is full in the middle of a checkpoint."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from pathlib import Path

from fault_kinds.losses import Losses
from fault_kinds.training import EXPERIMENT, Training, in_peace

SIZE = 64 * 2**20


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """Fill a disk of 64 MiB once a checkpoint is there, free it, and go on."""
    small = scratch / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(small)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    losses = Losses()
    if mounted.returncode:
        losses.remarks.append(f"not tried, a tmpfs cannot be mounted ({mounted.stderr.strip()})")
        losses.remarks.append("as another user: unshare -rm python benchmarks/faults --only disk")
        return losses
    try:
        _fill_and_free(scratch, small, rng, losses)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    return losses


def _fill_and_free(scratch: Path, small: Path, rng: random.Random, losses: Losses) -> None:
    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    in_peace(scratch / "peace", uri)
    training = Training(small / "run", uri)
    training.start()
    checkpoints = training.folder / "checkpoints"
    while not list(checkpoints.glob("step-*")):
        threading.Event().wait(0.01)
    (checkpoint,) = sorted(checkpoints.glob("step-*"))[:1]
    needed = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    left = rng.randrange(needed // 4, needed)
    ballast = small / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, _free(small) - left))
    status = training.wait()
    log = (small / "run.log").read_text()
    losses.add(
        full_disks_not_said=int("disk" not in log.lower() and "space" not in log.lower()),
        exit_statuses_other_than_1=int(status != 1),
        cut_off_checkpoints_left=len(list(checkpoints.glob("checkpoint-*"))),
        good_checkpoints_lost=int(not list(checkpoints.glob("step-*"))),
    )
    ballast.unlink()
    training.finish()
    losses.add(sync_failed=training.sync())
    losses.against_peace(scratch / "peace", training.folder)
    losses.against_spool(uri, EXPERIMENT, training.folder)
    losses.remarks.append(f"full with {left} of {needed} bytes of a checkpoint written")


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
