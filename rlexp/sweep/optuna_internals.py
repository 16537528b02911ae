"""What rlexp uses of Optuna that Optuna keeps to itself: here, and nowhere else.

Optuna's public way to a trial is the object that `ask` returned, in the process that asked. A trial
of rlexp is asked for by one process, run by another and perhaps ended by a third, on another
machine. So its state is read and set in the study's storage, which knows a trial by its id: a key
over all studies of the data base, where its number counts within one study.

`tests/sweep/test_optuna_internals.py` names what is private, and the functions that break when a
release of Optuna drops it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import optuna

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution, CategoricalChoiceType
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial, TrialState


def storage_of(study: optuna.Study) -> RDBStorage:
    """Return the study's data base, in Optuna's cache; one in memory has no heartbeats."""
    return cast("RDBStorage", study._storage)


def id_of_trial(trial: FrozenTrial | Trial) -> int:
    """Return the id by which the storage knows a trial."""
    return trial._trial_id


def id_of_number(study: optuna.Study, number: int) -> int:
    """Return the id of the study's trial with this number. Raises `KeyError` without one."""
    return storage_of(study).get_trial_id_from_study_id_trial_number(study._study_id, number)


def current_trial(study: optuna.Study, trial_id: int) -> FrozenTrial:
    """Return the trial as the data base has it now."""
    return storage_of(study).get_trial(trial_id)


def current_state(study: optuna.Study, trial_id: int) -> TrialState:
    """Return the trial's state as the data base has it now."""
    return current_trial(study, trial_id).state


def set_trial_state(study: optuna.Study, trial_id: int, state: TrialState) -> bool:
    """Move an unfinished trial to a state; False where another process claimed it first.

    Raises `UpdateFinishedTrialError` where the trial has ended meanwhile.
    """
    return storage_of(study).set_trial_state_values(trial_id, state)


def set_trial_attribute(study: optuna.Study, trial_id: int, name: str, value: object) -> None:
    """Set a user attribute of a trial, to anything that JSON holds. Raises as `set_trial_state`."""
    storage_of(study).set_trial_user_attr(trial_id, name, value)


def record_heartbeat(study: optuna.Study, trial_id: int) -> None:
    """Leave a sign of life for a trial."""
    storage_of(study).record_heartbeat(trial_id)


def stale_trial_ids(study: optuna.Study) -> set[int]:
    """Return the ids of RUNNING trials whose last heartbeat is older than the storage's grace."""
    return set(storage_of(study)._get_stale_trial_ids(study._study_id))


def live_trial(study: optuna.Study, trial_id: int) -> Trial:
    """Return a trial that can report and be asked about pruning, whichever process asked for it."""
    return optuna.trial.Trial(study, trial_id)


def suggest(
    trial: Trial, name: str, distribution: BaseDistribution
) -> CategoricalChoiceType | None:
    """Return the sampler's value of a parameter: `suggest_float` and its kin in one function."""
    return trial._suggest(name, distribution)
