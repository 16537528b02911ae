"""Ownership of trials: which process has a trial, and who may resume one whose process died.

A trial is RUNNING from the moment in which a process claims it. Its owner, a process, stands in its
attributes: the sweeper at first, then the trial's own process. A trial whose owner died goes back
to WAITING, with the parameters, the number and the folder that it has, and is claimed again.

On one machine the system says whether a process is alive. Of other machines only their signs of
life are known, which owners leave in the data base. Three rules keep two from claiming one trial:

- WAITING becomes RUNNING in one transaction, for one of those who try.
- The owner's name is taken off before a trial goes back, so that it is nobody's in between.
- A trial that is nobody's for longer than a grace is one whose claimer died at once.

Optuna's own way, a new trial for each retry, would give it another number and another folder.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from rlexp.sweep.optuna_internals import (
    current_state,
    current_trial,
    id_of_trial,
    record_heartbeat,
    set_trial_attribute,
    set_trial_state,
    stale_trial_ids,
)

OWNER = "owner"
OVERRIDES = "overrides"
"""What its command line has beside what all trials have; there once all its parameters are."""
RETRIES = "retries"
"""Times that its process died."""
ERROR = "error"
"""Why it failed."""
WITHDRAWN = "withdrawn"
"""Why it never began: no outcome of a run."""
BUDGETED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
"""States of trials that have come, or may come, to a result."""


@dataclass(frozen=True)
class Owner:
    """A process, so that another one that was given its number later is not taken for it."""

    host: str
    pid: int
    created: float
    """When it was started, in seconds since 1970."""

    @classmethod
    def this_process(cls) -> Self:
        return cls(platform.node(), os.getpid(), psutil.Process().create_time())

    @property
    def is_local(self) -> bool:
        """Whether this machine can say if it is alive."""
        return self.host == platform.node()

    @property
    def is_this_process(self) -> bool:
        """Whether it is this very process."""
        return self.is_local and self.pid == os.getpid() and self._was_created(psutil.Process())

    def is_alive(self) -> bool:
        """Whether it is, for a process of this machine."""
        try:
            process = psutil.Process(self.pid)
            return self._was_created(process) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _was_created(self, process: psutil.Process) -> bool:
        # The system counts from its boot, whose time moves a little when the clock is set.
        return abs(process.create_time() - self.created) < 2.0


def trials(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """Return the study's trials in these states, or all."""
    return study.get_trials(deepcopy=False, states=states or None)


def take_ownership(study: optuna.Study, trial_id: int) -> None:
    """Make this process a trial's owner, with a sign of life first."""
    record_heartbeat(study, trial_id)
    set_trial_attribute(study, trial_id, OWNER, asdict(Owner.this_process()))


def claim_waiting(study: optuna.Study, candidates: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Claim the first of these trials that waits to be resumed; None where none does."""
    for trial in candidates:
        if trial.state != TrialState.WAITING:
            continue
        trial_id = id_of_trial(trial)
        if set_trial_state(study, trial_id, TrialState.RUNNING):
            take_ownership(study, trial_id)
            return current_trial(study, trial_id)
    return None


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Let a trial wait until it is resumed: it was interrupted, which is not its fault."""
    trial_id = id_of_trial(trial)
    if current_state(study, trial_id) == TrialState.RUNNING:
        # The owner goes first: later it could be the one that has claimed the trial by then.
        set_trial_attribute(study, trial_id, OWNER, None)
        set_trial_state(study, trial_id, TrialState.WAITING)


def fail_trial(study: optuna.Study, trial: FrozenTrial, attribute: str, why: str) -> None:
    """End a trial that has no result, and say why."""
    with suppress(UpdateFinishedTrialError):  # another machine has just ended it
        set_trial_attribute(study, id_of_trial(trial), attribute, why)
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def handle_dead_trial(study: optuna.Study, trial: FrozenTrial, how: str, max_retries: int) -> bool:
    """Requeue a trial whose process died; False where it failed, its retries being used up."""
    # Its owner has changed since it was asked for.
    trial = current_trial(study, id_of_trial(trial))
    retries = trial.user_attrs.get(RETRIES, 0) + 1
    if OVERRIDES not in trial.user_attrs:
        fail_trial(study, trial, WITHDRAWN, "the sweep died before the trial had its parameters")
        return False
    owner = trial.user_attrs.get(OWNER)
    # One of this process never reached a process of its own, so this was no attempt.
    if not (owner and Owner(**owner).is_this_process):
        if retries > max_retries:
            fail_trial(study, trial, ERROR, f"its process died {retries} times, {how} at last")
            return False
        set_trial_attribute(study, id_of_trial(trial), RETRIES, retries)
    requeue(study, trial)
    return True


def find_dead_trials(study: optuna.Study, own_numbers: Set[int], grace: float) -> list[FrozenTrial]:
    """Return the trials that are RUNNING by name only, none of those that this process runs.

    One without an owner is taken for dead after `grace` seconds.
    """
    running = trials(study, TrialState.RUNNING)
    if not (others := [trial for trial in running if trial.number not in own_numbers]):
        return []
    stale = stale_trial_ids(study)
    dead = [trial for trial in others if _is_dead(trial, stale, grace)]
    # A process ends after its trial: the state that counts is the one after that look.
    return [
        trial for trial in dead if current_state(study, id_of_trial(trial)) == TrialState.RUNNING
    ]


def _is_dead(trial: FrozenTrial, stale: set[int], grace: float) -> bool:
    stored_owner = trial.user_attrs.get(OWNER)
    if stored_owner is None:
        started = trial.datetime_start or datetime.now()
        return (datetime.now() - started).total_seconds() > grace
    owner = Owner(**stored_owner)
    if not owner.is_local:
        return id_of_trial(trial) in stale
    # What this very process claimed and does not know of, it lost when the data base was away.
    return owner.is_this_process or not owner.is_alive()


@contextmanager
def heartbeats(seconds: float, beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every so many seconds, in a thread, until the block is left."""
    stopping = threading.Event()

    def repeat() -> None:
        while not stopping.wait(seconds):
            beat()

    thread = threading.Thread(target=repeat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
