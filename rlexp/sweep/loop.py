"""The sweep: ask the study for trials, hand them to slots, until the budget is met.

What has been decided stands in the study and nowhere else. So the loop can be killed at any moment,
and the same command goes on: trials that still run are waited for, those whose process died are
gone on with, and no finished one is run again.

A launcher with slots (`rlexp.sweep.workers.slots`) is given one trial at a time; Hydra's others
(joblib, submitit, basic) are given a batch, and wait for the slowest of it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import optuna
from hydra.utils import instantiate
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep import ownership
from rlexp.sweep.heartbeat import beating
from rlexp.sweep.optuna_internals import (
    current_state,
    current_trial,
    id_of_trial,
    live_trial,
    record_heartbeat,
    suggest,
)
from rlexp.sweep.report.progress import Progress
from rlexp.sweep.space.composed_keys import Compositions
from rlexp.sweep.space.grid import grid, is_grid, size
from rlexp.sweep.space.space import Space
from rlexp.sweep.study import OUTAGE, patiently
from rlexp.sweep.workers.slots import Outcome, outcome_of

LOOK_EVERY = 1.0
"""Seconds between two looks at what other processes and machines have done."""


class Sweep:
    """One process's work on a study.

    Args:
        spec: what to do.
        space: what is searched.
        study: where trials are asked for.
        launcher: Hydra's, perhaps with `slots`.
        known: from the values chosen so far, by key, to those of the whole config.
        tell: called with each trial that has ended or begun, for people to see.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        study: optuna.Study,
        launcher: Any,
        known: Compositions,
        tell: Progress,
    ) -> None:
        self.spec, self.space, self.study = spec, space, study
        self.known, self.tell = known, tell
        self.launcher = launcher
        self.slots = getattr(launcher, "slots", None)
        self.study.pruner = instantiate(spec.pruner)  # Hyperband's brackets matter to samplers
        self.budget = min(spec.n_trials, size(spec, space))
        self._under_way: dict[Future[Outcome], FrozenTrial] = {}
        self._news: list[FrozenTrial] = []
        self._failures = 0

    def run(self) -> None:
        """Meet the budget.

        Raises:
            RunFailed: too many trials in a row failed, or the study's data base stays away.
            UserError: a mistake in the config that only a trial could find.
        """
        with self._signs_of_life(), self._ending_all():
            while True:
                todo = patiently(self._next_trials)
                if todo:
                    self._launch(todo)
                patiently(self._tell_news)
                if not todo and not self._under_way and patiently(self._is_done):
                    return
                self._wait()

    def _next_trials(self) -> list[FrozenTrial]:
        """Trials for the free slots. May be called again after an outage in the middle."""
        for trial in ownership.find_dead_trials(
            self.study, self._mine(), 3.0 * self.spec.heartbeat
        ):
            how = "with its sweep or its machine"
            with suppress(UpdateFinishedTrialError):  # another machine was quicker
                if not ownership.handle_dead_trial(self.study, trial, how, self.spec.max_retries):
                    self.tell.ended(current_trial(self.study, id_of_trial(trial)))
        claimed: list[FrozenTrial] = []
        occupied = self._occupied()
        while len(occupied | {each.number for each in claimed}) < self.spec.n_jobs:
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

    def _next_trial(self) -> FrozenTrial | None:
        """A trial with its parameters, gone on with or new; None where none is left."""
        there = ownership.trials(self.study, *ownership.BUDGETED)
        trial = ownership.claim_waiting(self.study, there)
        if trial is None and self._asks_for_more(there):
            trial = self._ask()
        if trial is None or ownership.OVERRIDES in trial.user_attrs:
            return trial
        return self._decide(trial)

    def _mine(self) -> frozenset[int]:
        return frozenset(trial.number for trial in self._under_way.values())

    def _occupied(self) -> set[int]:
        """Trials that run on this machine, those of a sweep that was killed among them."""
        running = ownership.trials(self.study, TrialState.RUNNING)
        here = {
            each.number
            for each in running
            if (owner := each.user_attrs.get(ownership.OWNER)) and ownership.Owner(**owner).is_local
        }
        return here | self._mine()

    def _asks_for_more(self, there: Sequence[FrozenTrial]) -> bool:
        return len(there) < self.budget

    def _is_surplus(self, trial: FrozenTrial) -> bool:
        return ownership.is_surplus(self.study, trial.number, self.budget)

    def _is_done(self) -> bool:
        finished = ownership.trials(self.study, TrialState.COMPLETE, TrialState.PRUNED)
        return len(finished) >= self.budget

    def _ask(self) -> FrozenTrial:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that heartbeats are for Optuna's own loop
            self.study.sampler = self._sampler(0)  # asked for nothing yet: `_decide` samples
            trial = self.study.ask()
        ownership.take_ownership(self.study, id_of_trial(trial))
        return current_trial(self.study, id_of_trial(trial))

    def _decide(self, frozen: FrozenTrial) -> FrozenTrial:
        """Give a trial its parameters and its command line."""
        self.study.sampler = self._sampler(frozen.number)
        trial = live_trial(self.study, id_of_trial(frozen))
        chosen = self.space.assign(
            lambda parameter: suggest(trial, parameter.name, parameter.distribution), self.known
        )
        trial.set_user_attr(ownership.OVERRIDES, self.space.overrides(chosen))
        return current_trial(self.study, id_of_trial(frozen))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of one trial.

        Seeded by the trial's number a study samples the same whether it was interrupted or not, and
        two machines never sample alike; nor do two studies whose seeds are neighbours. A grid's
        order is the seed's, and must stay.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if is_grid(self.spec):
                return optuna.samplers.GridSampler(grid(self.space), seed=self.spec.seed)
            seed = np.random.SeedSequence([self.spec.seed, number]).generate_state(1)[0]
            return instantiate(self.spec.sampler, seed=int(seed))

    def _launch(self, todo: Sequence[FrozenTrial]) -> None:
        for trial in todo:
            self.tell.begins(trial)
        jobs = [self._overrides(trial) for trial in todo]
        if self.slots is not None:
            for trial, job in zip(todo, jobs, strict=True):
                self._under_way[self.slots.submit(job, trial.number)] = trial
            return
        patiently(self._tell_news)  # before a batch, which takes long
        futures: list[Future[Outcome]] = [Future() for _ in todo]
        self._under_way.update(zip(futures, todo, strict=True))
        try:
            returns = self.launcher.launch(jobs, initial_job_idx=todo[0].number)
            outcomes = [outcome_of(done) for done in returns]
        except Exception as error:  # a launcher whose worker died knows no more than that
            outcomes = [{"died": f"with its launcher: {type(error).__name__}: {error}"}] * len(todo)
        for future, outcome in zip(futures, outcomes, strict=True):
            future.set_result(outcome)

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        """A trial's command line, and where Hydra shall run it."""
        return [
            *self.space.fixed.values(),
            *trial.user_attrs[ownership.OVERRIDES],
            f"hydra.sweeper.trial={trial.number}",
            f"hydra.sweep.subdir={self._subfolder(trial)}",
        ]

    def _subfolder(self, trial: FrozenTrial) -> str:
        return str(trial.number)

    def _wait(self) -> None:
        """Until a trial ends, or it is time to look at what others have done."""
        if not self._under_way:
            time.sleep(LOOK_EVERY)
            return
        for future in wait(self._under_way, LOOK_EVERY, FIRST_COMPLETED).done:
            outcome = future.result()
            patiently(lambda outcome=outcome, future=future: self._ended(future, outcome))
            del self._under_way[future]

    def _ended(self, future: Future[Outcome], outcome: Outcome) -> None:
        """Bring the study up to date with a trial whose process has ended."""
        trial = self._under_way[future]
        if current_state(self.study, id_of_trial(trial)) == TrialState.RUNNING:
            if "died" in outcome:
                again = ownership.handle_dead_trial(
                    self.study, trial, outcome["died"], self.spec.max_retries
                )
                self.tell.died(trial, outcome["died"], again)
            else:
                self._settle(trial, outcome)
        now = current_trial(self.study, id_of_trial(trial))
        if now.state.is_finished():
            self._news.append(now)
        self._count_failures(now, outcome)

    def _tell_news(self) -> None:
        """Tell of the trials that have ended, which can wait until their slots have work again."""
        while self._news:
            self.tell.ended(self._news.pop(0))

    def _settle(self, trial: FrozenTrial, outcome: Outcome) -> None:
        """Tell the study what a task function returned that has not told it itself."""
        if "error" in outcome:
            ownership.fail_trial(self.study, trial, ownership.ERROR, outcome["error"])
            return
        returned = outcome["returned"]
        values = list(returned) if isinstance(returned, (list, tuple)) else [returned]
        if len(values) == len(self.spec.objectives) and all(map(_is_number, values)):
            self.study.tell(trial.number, [float(value) for value in values])
        else:
            ownership.fail_trial(self.study, trial, ownership.ERROR, f"its objective is {returned}")

    def _count_failures(self, trial: FrozenTrial, outcome: Outcome) -> None:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self._failures = 0
        if trial.state != TrialState.FAIL:
            return
        self._failures += 1
        nothing_yet = not ownership.trials(self.study, TrialState.COMPLETE, TrialState.PRUNED)
        if nothing_yet and "problems" in outcome:
            raise UserError([Problem(**problem) for problem in outcome["problems"]])
        if self._failures >= self.spec.max_failures:
            raise RunFailed(
                f"{self._failures} trials in a row failed",
                trial.user_attrs.get(ownership.ERROR, "unknown"),
                f"see {self.spec.folder}/{trial.number}; the same command goes on when it is "
                "put right, and sweep.max_failures allows more",
            )

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Leave signs of life for trials whose own process has not begun, or cannot."""

        def beat() -> None:
            for trial in list(self._under_way.values()):
                with suppress(*OUTAGE):  # the loop tells of an outage
                    record_heartbeat(self.study, id_of_trial(trial))

        with beating(self.spec.heartbeat, beat):
            yield

    @contextmanager
    def _ending_all(self) -> Iterator[None]:
        """Leave no trial running, and none that only seems to."""
        try:
            yield
        finally:
            with suppress(*OUTAGE):  # told when the study is gone on with
                self._tell_news()
            if self.slots is not None:
                self.slots.stop()
            for trial in self._under_way.values():
                with suppress(*OUTAGE):  # found dead when the study is gone on with
                    ownership.requeue(self.study, trial)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value
