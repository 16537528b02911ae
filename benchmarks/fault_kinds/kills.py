"""SIGKILL at random moments, then `rlexp resume`."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fault_kinds.losses import Losses
from fault_kinds.training import EXPERIMENT, Training, in_peace

KILLS_A_RUN = 5


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """Kill trainings `count` times in all, a few times each, and let them finish."""
    moment = partial(rng.uniform, 0)
    return again_and_again(scratch, count, KILLS_A_RUN, moment, "kills")


def again_and_again(
    scratch: Path,
    count: int,
    at_most: int,
    moment: Callable[[float], float],
    what: str,
    then: Callable[[Path], None] | None = None,
) -> Losses:
    """Kill and resume until `count` kills are made; what was lost against a run in peace.

    Args:
        at_most: kills of one run; after them it is let finish.
        moment: of a kill, in seconds, of a run that takes so many seconds.
        what: the kills are called.
        then: done to the run's folder after each kill.
    """
    uri = f"sqlite:///{scratch / 'mlflow.db'}"
    seconds = in_peace(scratch / "peace", uri)
    losses, kills, trainings = Losses(), 0, 0
    losses.add(trainings_failed=0)
    while kills < count:
        training = Training(scratch / f"run{trainings}", uri)
        trainings += 1
        for _ in range(min(at_most, count - kills)):
            training.start()
            if not training.killed_after(moment(seconds)):
                if training.wait():
                    losses.add(trainings_failed=1)
                    print(training.last_words)
                break
            if then:
                then(training.folder)
            kills += 1
            if training.is_over:
                break
        else:
            training.finish()
        losses.add(sync_failed=training.sync())
        losses.against_peace(scratch / "peace", training.folder)
        losses.against_spool(uri, EXPERIMENT, training.folder)
    losses.remarks.append(f"{kills} {what} of {trainings} runs of {seconds:.0f} s")
    return losses
