"""A trial, seen from the process that runs it.

    with attached(sweep, number) as trial:
        for step in range(100):
            ...
            trial.report({"eval/reward": reward}, step)  # whether the trial is hopeless
        trial.finish({"eval/reward": reward})

The process owns the result: the study knows it even when the sweeper is dead. Leaving the block by
`Pruned` makes the trial PRUNED; by Ctrl-C or SIGTERM, one that waits to be gone on with; by any
other exception, FAILED with its words.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from hydra.utils import instantiate
from optuna.trial import TrialState

from rlexp.runtime.signals import Terminated
from rlexp.spec.errors import Pruned, RunFailed
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.heartbeat import beating
from rlexp.sweep.ownership import ERROR, fail_trial, requeue, storage_of, take_ownership
from rlexp.sweep.study import OUTAGE, open_storage, patiently
from rlexp.sweep.trial_env import VARIABLE

log = logging.getLogger(__name__)

_here: Trial | None = None


class Trial:
    """A trial of a study.

    Attributes:
        values: of the objectives; None until the trial has finished.
    """

    def __init__(self, sweep: SweepSpec, number: int) -> None:
        self.sweep, self.number = sweep, number
        self._study, self.frozen = patiently(self._load)
        self.values: list[float] | None = None
        self._reported = set(self.frozen.intermediate_values)
        self._unreported: dict[int, float] = {}

    def _load(self) -> tuple[optuna.Study, optuna.trial.FrozenTrial]:
        study = optuna.load_study(
            study_name=self.sweep.name,
            storage=open_storage(self.sweep.storage, self.sweep.heartbeat, checked=True),
            pruner=instantiate(self.sweep.pruner),
            sampler=optuna.samplers.RandomSampler(),  # the sweeper samples, not its trials
        )
        storage = storage_of(study)
        found = storage.get_trial_id_from_study_id_trial_number(study._study_id, self.number)
        return study, storage.get_trial(found)

    @property
    def is_running(self) -> bool:
        """Whether nobody has ended it meanwhile."""
        return storage_of(self._study).get_trial(self.frozen._trial_id).state == TrialState.RUNNING

    def note(self, **attributes: Any) -> None:
        """Attributes of the trial that people and reports read."""
        for name, value in attributes.items():
            patiently(
                lambda name=name, value=value: storage_of(self._study).set_trial_user_attr(
                    self.frozen._trial_id, name, value
                )
            )

    def report(self, metrics: Mapping[str, float], step: int) -> bool:
        """Tell the study of an evaluation; whether its pruner gives the trial up.

        With several objectives nothing is told: a trial that is worse in one may be better in
        another. While the study's data base is away the trial goes on.

        Args:
            metrics: by name; among them the objective, if it can be known before the end.
            step: of the training.
        """
        objective = self.sweep.objectives[0]
        if len(self.sweep.objectives) > 1 or objective not in metrics:
            return False
        if step not in self._reported:
            self._unreported[step] = metrics[objective]
        trial = optuna.trial.Trial(self._study, self.frozen._trial_id)
        try:
            for each, value in list(self._unreported.items()):
                trial.report(value, each)
                self._reported.add(each)
                del self._unreported[each]
            return trial.should_prune()
        except OUTAGE as error:
            log.warning(
                "The study could not be told of step %d, and will be later: %s", step, error
            )
            return False

    def finish(self, metrics: Mapping[str, float | None]) -> None:
        """Set the result, which the study is told when the block is left.

        Raises:
            RunFailed: an objective is missing, or no number.
        """
        found = [metrics.get(name) for name in self.sweep.objectives]
        for name, value in zip(self.sweep.objectives, found, strict=True):
            if value is None or not math.isfinite(value):
                known = ", ".join(sorted(metrics))
                raise RunFailed(
                    f"the objective {name} is {'NaN' if name in metrics else 'not there'}",
                    "the training diverged" if name in metrics else f"there are {known}",
                    "the other trials go on",
                )
        self.values = [float(value) for value in found if value is not None]

    def end(self, error: BaseException | None) -> None:
        """Tell the study how it ended. An exception says why it has no result."""
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            requeue(self._study, self.frozen)
        elif isinstance(error, Pruned):
            self._tell(TrialState.PRUNED)
        elif error is not None:
            fail_trial(self._study, self.frozen, ERROR, f"{type(error).__name__}: {error}"[:2000])
        elif self.values is not None:
            self._tell(TrialState.COMPLETE, self.values)

    def _tell(self, state: TrialState, values: list[float] | None = None) -> None:
        self._study.tell(self.number, values, state, skip_if_finished=True)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Own the trial, and leave signs of life, until the block is left."""
        patiently(lambda: take_ownership(self._study, self.frozen._trial_id))
        told = False

        def beat() -> None:
            nonlocal told
            try:
                storage_of(self._study).record_heartbeat(self.frozen._trial_id)
                told = False
            except OUTAGE as error:
                if not told:
                    log.warning("No sign of life could be left in the study: %s", error)
                told = True

        with beating(self.sweep.heartbeat, beat):
            yield


@contextmanager
def attached(sweep: SweepSpec, number: int) -> Iterator[Trial]:
    """The trial of this number, owned by this process; see the module's docstring.

    Raises:
        RuntimeError: it is not RUNNING: somebody else has ended it or taken it over.
    """
    global _here
    trial = Trial(sweep, number)
    if not patiently(lambda: trial.is_running):
        raise RuntimeError(f"trial {number} of {sweep.name} is not RUNNING any more")
    told = json.dumps({"number": number, "sweep": sweep.model_dump()})
    before = _here, os.environ.get(VARIABLE)
    _here = trial
    os.environ[VARIABLE] = told
    try:
        with trial.alive():
            error: BaseException | None = None
            try:
                yield trial
            except BaseException as raised:
                error = raised
                raise
            finally:
                patiently(lambda: trial.end(error))
    finally:
        _here = before[0]
        if before[1] is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before[1]


def trial_here() -> Trial:
    """The trial that this process runs, or works for (`is_trial`)."""
    global _here
    if _here is None:
        told = json.loads(os.environ[VARIABLE])
        _here = Trial(SweepSpec(**told["sweep"]), told["number"])
    return _here
