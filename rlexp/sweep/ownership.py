"""Whose a trial is, and whether its process is alive: who may go on with a trial that died.

A trial is RUNNING from the moment in which somebody claims it. Its owner, a process, stands in its
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
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

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
    def here(cls) -> Self:
        """This process."""
        return cls(platform.node(), os.getpid(), psutil.Process().create_time())

    @property
    def is_local(self) -> bool:
        """Whether this machine can say if it is alive."""
        return self.host == platform.node()

    @property
    def is_here(self) -> bool:
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


def storage_of(study: optuna.Study) -> RDBStorage:
    """The study's data base. Optuna gives no public way to it."""
    storage: Any = study._storage
    return storage


def trials(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """The study's trials in these states, or all."""
    return study.get_trials(deepcopy=False, states=states or None)


def state_of(study: optuna.Study, trial: FrozenTrial) -> TrialState:
    """The state of a trial as it is now."""
    return storage_of(study).get_trial(trial._trial_id).state


def take_ownership(study: optuna.Study, trial_id: int) -> None:
    """Make this process a trial's owner, with a sign of life first."""
    storage = storage_of(study)
    storage.record_heartbeat(trial_id)
    storage.set_trial_user_attr(trial_id, OWNER, asdict(Owner.here()))


def claim_waiting(study: optuna.Study, there: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Of these trials one that waits to be gone on with, now this process's; None without one."""
    storage = storage_of(study)
    for trial in there:
        if trial.state != TrialState.WAITING:
            continue
        if storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
            take_ownership(study, trial._trial_id)
            return storage.get_trial(trial._trial_id)
    return None


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Let a trial wait until it is gone on with: it was interrupted, which is not its fault."""
    storage = storage_of(study)
    if state_of(study, trial) == TrialState.RUNNING:
        storage.set_trial_user_attr(trial._trial_id, OWNER, None)
        storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def fail_trial(study: optuna.Study, trial: FrozenTrial, attribute: str, why: str) -> None:
    """End a trial that has no result, and say why."""
    with suppress(UpdateFinishedTrialError):  # another machine has just ended it
        storage_of(study).set_trial_user_attr(trial._trial_id, attribute, why)
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def handle_dead_trial(study: optuna.Study, trial: FrozenTrial, how: str, max_retries: int) -> bool:
    """What becomes of a trial whose process died: it waits for another attempt, or fails.

    Returns:
        Whether it will be gone on with.
    """
    trial = storage_of(study).get_trial(trial._trial_id)  # its owner has changed since it was asked
    retries = trial.user_attrs.get(RETRIES, 0) + 1
    if OVERRIDES not in trial.user_attrs:
        fail_trial(study, trial, WITHDRAWN, "the sweep died before the trial had its parameters")
    elif (owner := trial.user_attrs.get(OWNER)) and Owner(**owner).is_here:
        requeue(study, trial)
        return True
    elif retries > max_retries:
        fail_trial(study, trial, ERROR, f"its process died {retries} times, {how} at last")
    else:
        storage_of(study).set_trial_user_attr(trial._trial_id, RETRIES, retries)
        requeue(study, trial)
        return True
    return False


def find_dead_trials(study: optuna.Study, mine: frozenset[int], grace: float) -> list[FrozenTrial]:
    """Trials that are RUNNING by name only.

    Args:
        mine: numbers of the trials that this process has under way.
        grace: seconds after which a trial that is nobody's is taken for dead.
    """
    storage = storage_of(study)
    running = [each for each in trials(study, TrialState.RUNNING) if each.number not in mine]
    if not running:
        return []
    silent = set(storage._get_stale_trial_ids(study._study_id))
    found = [each for each in running if _is_dead(each, silent, grace)]
    # A process ends after its trial: the state that counts is the one after that look.
    return [each for each in found if state_of(study, each) == TrialState.RUNNING]


def _is_dead(trial: FrozenTrial, silent: set[int], grace: float) -> bool:
    named = trial.user_attrs.get(OWNER)
    if named is None:
        began = trial.datetime_start or datetime.now()
        return (datetime.now() - began).total_seconds() > grace
    owner = Owner(**named)
    if not owner.is_local:
        return trial._trial_id in silent
    # What this very process claimed and does not know of, it lost when the data base was away.
    return owner.is_here or not owner.is_alive()


def is_surplus(study: optuna.Study, number: int, n_trials: int) -> bool:
    """Whether the trials before this one fill the budget: two machines may have asked at once."""
    before = [each for each in trials(study, *BUDGETED) if each.number < number]
    return len(before) >= n_trials
