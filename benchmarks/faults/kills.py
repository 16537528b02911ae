"""SIGKILL at random moments, then `rlexp resume`."""

from __future__ import annotations

import random
from pathlib import Path

from losses import Losses
from training import EXPERIMENT, Training, in_peace

KILLS_A_RUN = 5


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """Kill trainings `count` times in all, a few times each, and let them finish."""
    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    seconds = in_peace(scratch / "peace", uri)
    losses, kills, trainings = Losses(), 0, 0
    while kills < count:
        training = Training(scratch / f"run{trainings}", uri)
        trainings += 1
        for _ in range(min(KILLS_A_RUN, count - kills)):
            training.start()
            if not training.killed_after(rng.uniform(0, seconds)):
                losses.add(trainings_failed=int(training.wait() != 0))
                break
            kills += 1
        else:
            training.finish()
        losses.add(sync_failed=training.sync())
        losses.against_peace(scratch / "peace", training.folder)
        losses.against_spool(uri, EXPERIMENT, training.folder)
    losses.remarks.append(f"{kills} kills of {trainings} runs of {seconds:.0f} s")
    return losses
