"""A trial, seen from the process that runs it.

    with attached(sweep, number) as trial:
        for step in range(100):
            ...
            trial.report(step, reward)  # whether to prune the trial
        trial.finish({"eval/reward": reward})

The process owns the result: the study knows it even when the sweeper is dead. Leaving the block by
`Pruned` makes the trial PRUNED; by Ctrl-C or SIGTERM, one that waits to be gone on with; by any
other exception, FAILED with its words.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
from hydra.utils import instantiate
from optuna.trial import TrialState

from rlexp.runner.pruning import TrialReporter
from rlexp.runtime.signals import Terminated
from rlexp.spec.errors import Pruned, RunFailed
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.heartbeat import beating
from rlexp.sweep.optuna_internals import (
    current_state,
    current_trial,
    id_of_number,
    id_of_trial,
    live_trial,
    record_heartbeat,
    set_trial_attribute,
)
from rlexp.sweep.ownership import ERROR, fail_trial, requeue, take_ownership
from rlexp.sweep.study import OUTAGE, open_storage, patiently

log = logging.getLogger(__name__)


class Trial:
    """A trial of a study.

    Attributes:
        values: of the objectives; None until the trial has finished.
    """

    def __init__(self, sweep: SweepSpec, number: int) -> None:
        self.sweep, self.number = sweep, number
        self._study, self.frozen = patiently(self._load)
        self._id = id_of_trial(self.frozen)
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
        return study, current_trial(study, id_of_number(study, self.number))

    @property
    def is_running(self) -> bool:
        """Whether nobody has ended it meanwhile."""
        return current_state(self._study, self._id) == TrialState.RUNNING

    def note(self, **attributes: Any) -> None:
        """Attributes of the trial that people and reports read."""
        for name, value in attributes.items():
            patiently(partial(set_trial_attribute, self._study, self._id, name, value))

    @property
    def metric(self) -> str:
        """The objective that is reported while the trial runs: the first."""
        return self.sweep.objectives[0]

    @property
    def reporter(self) -> TrialReporter | None:
        """What a run reports to; None with several objectives.

        A trial that is worse in one objective may be better in another.
        """
        return self if len(self.sweep.objectives) == 1 else None

    def report(self, step: int, value: float) -> bool:
        """Report the objective's value after `step` optimizer steps; return whether to prune.

        While the study's data base is away the trial goes on, and what it could not report follows.
        """
        if step not in self._reported:
            self._unreported[step] = value
        trial = live_trial(self._study, self._id)
        try:
            for at, unreported in list(self._unreported.items()):
                trial.report(unreported, at)
                self._reported.add(at)
                del self._unreported[at]
            return trial.should_prune()
        except OUTAGE as error:
            log.warning("Step %d could not be reported, and will be later: %s", step, error)
            return False

    def to_config(self) -> dict[str, object]:
        return {
            "_target_": f"{__name__}.{trial_of.__name__}",
            "sweep": self.sweep.model_dump(),
            "number": self.number,
        }

    def finish(self, metrics: Mapping[str, float | None]) -> None:
        """Set the result, which the study is told when the block is left.

        Raises:
            RunFailed: an objective is missing, or no number.
        """
        values = [metrics.get(name) for name in self.sweep.objectives]
        for name, value in zip(self.sweep.objectives, values, strict=True):
            if value is None or not math.isfinite(value):
                known = ", ".join(sorted(metrics))
                raise RunFailed(
                    f"the objective {name} is {'NaN' if name in metrics else 'not there'}",
                    "the training diverged" if name in metrics else f"there are {known}",
                    "the other trials go on",
                )
        self.values = [float(value) for value in values if value is not None]

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
        patiently(lambda: take_ownership(self._study, self._id))
        warned = False

        def beat() -> None:
            nonlocal warned
            try:
                record_heartbeat(self._study, self._id)
                warned = False
            except OUTAGE as error:
                if not warned:
                    log.warning("No sign of life could be left in the study: %s", error)
                warned = True

        with beating(self.sweep.heartbeat, beat):
            yield


@contextmanager
def attached(sweep: SweepSpec, number: int) -> Iterator[Trial]:
    """Own the trial of this number until the block is left; see the module's docstring.

    Raises:
        RuntimeError: it is not RUNNING: somebody else has ended it or taken it over.
    """
    trial = Trial(sweep, number)
    if not patiently(lambda: trial.is_running):
        raise RuntimeError(f"trial {number} of {sweep.name} is not RUNNING any more")
    with trial.alive():
        error: BaseException | None = None
        try:
            yield trial
        except BaseException as raised:
            error = raised
            raise
        finally:
            patiently(lambda: trial.end(error))


def trial_of(sweep: dict[str, Any], number: int) -> Trial:
    """Return a trial that another process owns, to report to; undoes `Trial.to_config`."""
    return Trial(SweepSpec(**sweep), number)
