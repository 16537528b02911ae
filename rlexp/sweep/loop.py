"""The loop of a sweep: ask the study for trials, hand them to slots, until the budget is met.

What has been decided stands in the study and nowhere else. So the loop can be killed at any moment,
and the same command resumes it: trials that still run are waited for, those whose process died are
resumed, and no finished one is run again.

A launcher with slots (`rlexp.sweep.workers.slots`) is given one trial at a time; Hydra's others
(joblib, submitit, basic) are given a batch, and wait for the slowest of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import optuna
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep import ownership
from rlexp.sweep.optuna_internals import current_state, current_trial, id_of_trial, record_heartbeat
from rlexp.sweep.ownership import heartbeats
from rlexp.sweep.report.progress import SweepProgress
from rlexp.sweep.sampling import ask_trial, max_trials, sample_parameters
from rlexp.sweep.space.space import CompositionCache, SearchSpace
from rlexp.sweep.study import OUTAGE, retry_outages
from rlexp.sweep.workers.slots import JobOutcome, outcome_from_job

if TYPE_CHECKING:
    from rlexp.sweep.workers.ray_cluster import ClusterSlots
    from rlexp.sweep.workers.slots import Slots

POLL_SECONDS = 1.0
"""Seconds between two looks at what other processes and machines have done."""


class SweepLoop:
    """One process's work on a study, whose trials are shown by `progress` as they start and end."""

    def __init__(
        self,
        spec: SweepSpec,
        space: SearchSpace,
        study: optuna.Study,
        launcher: Launcher,
        compositions: CompositionCache,
        progress: SweepProgress,
    ) -> None:
        self.spec, self.space, self.study = spec, space, study
        self.compositions, self.progress = compositions, progress
        self.launcher = launcher
        self.slots: Slots | ClusterSlots | None = getattr(launcher, "slots", None)
        self.study.pruner = instantiate(spec.pruner)  # Hyperband's brackets matter to samplers
        self.budget = min(spec.n_trials, max_trials(spec, space))
        self._under_way: dict[Future[JobOutcome], FrozenTrial] = {}
        self._unannounced: list[FrozenTrial] = []
        self._failures_in_a_row = 0

    def run(self) -> None:
        """Meet the budget.

        Each round may be cut off anywhere by an outage of the data base, and is tried again then:
        what it has done by that time stands in the study.

        Raises:
            RunFailed: too many trials in a row failed, or the study's data base stays away.
            UserError: a mistake in the config that only a trial could find.
        """
        with heartbeats(self.spec.heartbeat, self._beat), self._stopping_all():
            while True:
                # claim: trials whose process died, those that wait, and new ones
                claimed = retry_outages(self._claim_trials)
                # run
                if claimed:
                    self._launch(claimed)
                # announce, which can wait until the slots have work again
                retry_outages(self._announce_ended)
                if not self._under_way and retry_outages(self._is_done):
                    return
                # wait, and tell the study what came of those that end
                self._wait()

    def _claim_trials(self) -> list[FrozenTrial]:
        """Return trials for the free slots. May be called again after an outage in the middle."""
        # dead ones first: they wait again, or have failed for good and are replaced
        self._handle_dead_trials()

        # one trial a slot of this machine, whichever process has filled the slots
        claimed: list[FrozenTrial] = []
        occupied = self._local_running()
        while len(occupied | {trial.number for trial in claimed}) < self.spec.n_jobs:
            try:
                trial = self._next_trial()
            except UpdateFinishedTrialError:
                continue  # this process was so slow that another took it for dead, and ended it
            if trial is None:
                break
            if self._is_surplus(trial):
                why = "another machine filled the budget at the same time"
                ownership.fail_trial(self.study, trial, ownership.WITHDRAWN, why)
                break
            claimed.append(trial)
        return claimed

    def _handle_dead_trials(self) -> None:
        own_numbers = {trial.number for trial in self._under_way.values()}
        grace = 3.0 * self.spec.heartbeat
        for trial in ownership.find_dead_trials(self.study, own_numbers, grace):
            how = "with its sweep or its machine"
            with suppress(UpdateFinishedTrialError):  # another machine was quicker
                if not ownership.handle_dead_trial(self.study, trial, how, self.spec.max_retries):
                    self.progress.trial_ended(current_trial(self.study, id_of_trial(trial)))

    def _next_trial(self) -> FrozenTrial | None:
        """Return a trial with its parameters, resumed or new; None where none is left."""
        budgeted = ownership.trials(self.study, *ownership.BUDGETED)
        # those that wait go first: they hold a place in the budget already
        trial = ownership.claim_waiting(self.study, budgeted)
        # ask
        if trial is None and self._asks_for_more(budgeted):
            trial = ask_trial(self.study, self.spec, self.space)
        if trial is None or ownership.OVERRIDES in trial.user_attrs:
            return trial
        return sample_parameters(self.study, self.spec, self.space, self.compositions, trial)

    def _local_running(self) -> set[int]:
        """Return the trials that run on this machine, those that a killed sweep left among them."""
        running = ownership.trials(self.study, TrialState.RUNNING)
        owners = {trial.number: trial.user_attrs.get(ownership.OWNER) for trial in running}
        local = {number for number, o in owners.items() if o and ownership.Owner(**o).is_local}
        return local | {trial.number for trial in self._under_way.values()}

    def _asks_for_more(self, budgeted: Sequence[FrozenTrial]) -> bool:
        return len(budgeted) < self.budget

    def _is_surplus(self, trial: FrozenTrial) -> bool:
        """Whether earlier trials fill the budget: two machines may have asked at once."""
        budgeted = ownership.trials(self.study, *ownership.BUDGETED)
        return sum(other.number < trial.number for other in budgeted) >= self.budget

    def _is_done(self) -> bool:
        finished = ownership.trials(self.study, TrialState.COMPLETE, TrialState.PRUNED)
        return len(finished) >= self.budget

    def _launch(self, trials: Sequence[FrozenTrial]) -> None:
        """Start trials in slots, or run them to their end as a batch."""
        for trial in trials:
            self.progress.trial_started(trial)
        jobs = [self._overrides(trial) for trial in trials]
        if self.slots is not None:
            for trial, job in zip(trials, jobs, strict=True):
                self._under_way[self.slots.submit(job, trial.number)] = trial
            return
        retry_outages(self._announce_ended)  # before a batch, which takes long
        futures: list[Future[JobOutcome]] = [Future() for _ in trials]
        # Before the launch, so that the batch has heartbeats while it runs.
        self._under_way.update(zip(futures, trials, strict=True))
        try:
            returns = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
            outcomes = [outcome_from_job(job_return) for job_return in returns]
        except Exception as error:  # a launcher whose worker died knows no more than that
            died = f"with its launcher: {type(error).__name__}: {error}"
            outcomes = [JobOutcome(died=died) for _ in trials]
        for future, outcome in zip(futures, outcomes, strict=True):
            future.set_result(outcome)

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        """Return a trial's command line, and where Hydra shall run it."""
        return [
            *self.space.fixed.values(),
            *trial.user_attrs[ownership.OVERRIDES],
            f"hydra.sweeper.trial={trial.number}",
            f"hydra.sweep.subdir={self._subfolder(trial)}",
        ]

    def _subfolder(self, trial: FrozenTrial) -> str:
        return str(trial.number)

    def _wait(self) -> None:
        """Wait until a trial ends, or until it is time to look at what others have done."""
        if not self._under_way:
            time.sleep(POLL_SECONDS)
            return
        for future in wait(self._under_way, POLL_SECONDS, FIRST_COMPLETED).done:
            outcome = future.result()
            retry_outages(lambda outcome=outcome, future=future: self._settle(future, outcome))
            # Last: while the data base is away the trial is still this process's.
            del self._under_way[future]

    def _settle(self, future: Future[JobOutcome], outcome: JobOutcome) -> None:
        """Bring the study up to date with a trial whose process has ended."""
        trial = self._under_way[future]
        # tell: RUNNING still, it has not told the study itself what came of it
        if current_state(self.study, id_of_trial(trial)) == TrialState.RUNNING:
            if "died" in outcome:
                requeued = ownership.handle_dead_trial(
                    self.study, trial, outcome["died"], self.spec.max_retries
                )
                self.progress.trial_died(trial, outcome["died"], requeued)
            else:
                self._tell(trial, outcome)
        # announce later, so that the slot has work again first
        settled = current_trial(self.study, id_of_trial(trial))
        if settled.state.is_finished():
            self._unannounced.append(settled)
        self._count_failures(settled, outcome)

    def _announce_ended(self) -> None:
        while self._unannounced:
            self.progress.trial_ended(self._unannounced.pop(0))

    def _tell(self, trial: FrozenTrial, outcome: JobOutcome) -> None:
        """Tell the study what a task function returned that has not told it itself."""
        if "returned" not in outcome:
            ownership.fail_trial(self.study, trial, ownership.ERROR, outcome.get("error", ""))
            return
        returned = outcome["returned"]
        values = list(returned) if isinstance(returned, (list, tuple)) else [returned]
        are_numbers = all(isinstance(value, (int, float)) and value == value for value in values)
        if are_numbers and len(values) == len(self.spec.objectives):
            self.study.tell(trial.number, [float(value) for value in values])
        else:
            ownership.fail_trial(self.study, trial, ownership.ERROR, f"its objective is {returned}")

    def _count_failures(self, trial: FrozenTrial, outcome: JobOutcome) -> None:
        """Stop the sweep where its trials fail for a reason that they share; raises as `run`."""
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self._failures_in_a_row = 0
        if trial.state != TrialState.FAIL:
            return
        self._failures_in_a_row += 1
        results = ownership.trials(self.study, TrialState.COMPLETE, TrialState.PRUNED)
        if not results and "problems" in outcome:
            raise UserError([Problem(**problem) for problem in outcome["problems"]])
        if self._failures_in_a_row >= self.spec.max_failures:
            raise RunFailed(
                f"{self._failures_in_a_row} trials in a row failed",
                trial.user_attrs.get(ownership.ERROR, "unknown"),
                f"see {self.spec.folder}/{trial.number}; the same command goes on when it is "
                "put right, and sweep.max_failures allows more",
            )

    def _beat(self) -> None:
        """Leave heartbeats for trials whose own process has not begun, or cannot."""
        for trial in list(self._under_way.values()):
            with suppress(*OUTAGE):  # the loop tells of an outage
                record_heartbeat(self.study, id_of_trial(trial))

    @contextmanager
    def _stopping_all(self) -> Iterator[None]:
        """Leave no trial running, and none that only seems to."""
        try:
            yield
        finally:
            with suppress(*OUTAGE):  # announced when the study is resumed
                self._announce_ended()
            if self.slots is not None:
                self.slots.stop()
            for trial in self._under_way.values():
                with suppress(*OUTAGE):  # found dead when the study is resumed
                    ownership.requeue(self.study, trial)
