"""A power cut: whatever had not reached the disk is gone."""

from __future__ import annotations

import random
from pathlib import Path

from losses import Losses
from training import EXPERIMENT, Training, in_peace

from rlexp.tracking.spool import SENT, SPOOL

CUTS_A_RUN = 3


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """Cut a quarter of `count` times, a few times a run."""
    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    seconds = in_peace(scratch / "peace", uri)
    losses, cuts, trainings = Losses(), 0, 0
    while cuts < max(1, count // 4):
        training = Training(scratch / f"run{trainings}", uri)
        trainings += 1
        for _ in range(CUTS_A_RUN):
            training.start()
            if not training.killed_after(rng.uniform(seconds / 3, seconds)):
                break
            cut(training.folder, rng)
            cuts += 1
        else:
            training.finish()
        losses.add(sync_failed=training.sync())
        losses.against_peace(scratch / "peace", training.folder)
        losses.against_spool(uri, EXPERIMENT, training.folder)
    losses.remarks.append(f"{cuts} power cuts of {trainings} runs of {seconds:.0f} s")
    return losses


def cut(folder: Path, rng: random.Random) -> None:
    """Cut the spool, a file of the newest checkpoint, and sometimes the note of what was sent."""
    checkpoints = sorted((folder / "checkpoints").glob("*"), key=lambda path: path.stat().st_mtime)
    files = [path for path in checkpoints[-1].rglob("*") if path.is_file()] if checkpoints else []
    torn = [folder / SPOOL] if (folder / SPOOL).is_file() else []
    torn += [rng.choice(files)] if files else []
    torn += [folder / SENT] if rng.random() < 0.3 and (folder / SENT).is_file() else []
    for path in torn:
        content = path.read_bytes()
        path.write_bytes(content[: rng.randrange(len(content) + 1)])
