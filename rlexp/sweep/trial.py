"""A trial, seen from the process that runs it.

    with attached(sweep, number) as trial:
        for step in range(100):
            ...
            trial.report(step, reward)  # whether to prune the trial
        trial.finish({"eval/reward": reward})

The process owns the result: the study knows it even when the sweeper is dead. Leaving the block by
`Pruned` makes the trial PRUNED; by Ctrl-C or SIGTERM, one that waits to be gone on with; by any
other exception, FAILED with its words.

`run_trial` is what is done in it: a run is begun, gone on with, or found to be finished already.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from hydra.utils import instantiate
from optuna.trial import TrialState

from rlexp.config.stored import Config, write_config
from rlexp.launch.launcher import launch
from rlexp.launch.resume_plan import plan_resume
from rlexp.runner.pruning import PRUNED, TrialReporter
from rlexp.runtime.lock import is_held
from rlexp.runtime.run_folder import CARD, SPOOL
from rlexp.runtime.signals import Terminated
from rlexp.spec.errors import Pruned, RunFailed
from rlexp.spec.run import RunSpec
from rlexp.spec.sweep import COSTS, SweepSpec
from rlexp.sweep.optuna_internals import (
    current_state,
    current_trial,
    id_of_number,
    id_of_trial,
    live_trial,
    record_heartbeat,
    set_trial_attribute,
)
from rlexp.sweep.ownership import ERROR, fail_trial, heartbeats, requeue, take_ownership
from rlexp.sweep.study import OUTAGE, open_storage, retry_outages
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.spool.mlflow_writer import parent_run

MENDED_WITHIN = 60.0
"""Seconds that another process may take to send what a dead run has left."""

log = logging.getLogger(__name__)


class Trial:
    """A trial of a study; the objectives' `values` are None until it has finished."""

    def __init__(self, sweep: SweepSpec, number: int) -> None:
        self.sweep, self.number = sweep, number
        self._study, self.frozen = retry_outages(self._load)
        self._id = id_of_trial(self.frozen)
        self.values: list[float] | None = None
        self._reported = set(self.frozen.intermediate_values)
        self._unreported: dict[int, float] = {}
        self._is_silent = False

    def _load(self) -> tuple[optuna.Study, optuna.trial.FrozenTrial]:
        study = optuna.load_study(
            study_name=self.sweep.name,
            storage=open_storage(self.sweep.storage, self.sweep.heartbeat, checked=True),
            pruner=instantiate(self.sweep.pruner),
            sampler=optuna.samplers.RandomSampler(),  # the sweeper samples, not its trials
        )
        return study, current_trial(study, id_of_number(study, self.number))

    def note(self, **attributes: Any) -> None:
        """Set attributes of the trial that people and reports read."""
        for name, value in attributes.items():
            retry_outages(
                lambda name=name, value=value: set_trial_attribute(
                    self._study, self._id, name, value
                )
            )

    @property
    def metric(self) -> str:
        """Return the objective that is reported while the trial runs: the first."""
        return self.sweep.objectives[0]

    @property
    def reporter(self) -> TrialReporter | None:
        """What a run reports to; None with several objectives, of which another may be better."""
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

        Raises `RunFailed` where an objective is missing, or no number.
        """
        values: list[float] = []
        for name in self.sweep.objectives:
            value = metrics.get(name)
            if value is None or not math.isfinite(value):
                what, cause = "not there", f"there are {', '.join(sorted(metrics))}"
                if name in metrics:
                    what, cause = "NaN", "the training diverged"
                raise RunFailed(f"the objective {name} is {what}", cause, "the other trials go on")
            values.append(float(value))
        self.values = values

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

    def begin(self) -> None:
        """Own the trial. Raises `RuntimeError` where it is no longer RUNNING."""
        if current_state(self._study, self._id) != TrialState.RUNNING:
            raise RuntimeError(f"trial {self.number} of {self.sweep.name} is not RUNNING any more")
        take_ownership(self._study, self._id)

    def beat(self) -> None:
        """Leave a sign of life, or warn once while the study's data base is away."""
        try:
            record_heartbeat(self._study, self._id)
            self._is_silent = False
        except OUTAGE as error:
            if not self._is_silent:
                log.warning("No sign of life could be left in the study: %s", error)
            self._is_silent = True


@contextmanager
def attached(sweep: SweepSpec, number: int) -> Iterator[Trial]:
    """Own the trial of this number until the block is left. Raises as `Trial.begin`."""
    trial = Trial(sweep, number)
    retry_outages(trial.begin)
    with heartbeats(sweep.heartbeat, trial.beat):
        error: BaseException | None = None
        try:
            yield trial
        except BaseException as raised:
            error = raised
            raise
        finally:
            retry_outages(lambda: trial.end(error))


def trial_of(sweep: dict[str, Any], number: int) -> Trial:
    """Return a trial that another process owns, to report to; undoes `Trial.to_config`."""
    return Trial(SweepSpec(**sweep), number)


def run_trial(config: Config, folder: Path, sweep: SweepSpec, number: int) -> list[float] | None:
    """Run a trial in this process, tell the study, and return the objectives; None if pruned.

    A folder that a killed process has left is gone on with. Raises what the run does.
    """
    try:
        with attached(sweep, number) as trial:
            trial.note(folder=str(folder.absolute()))
            _run(trial_config(config, folder, number, sweep), folder, trial.reporter)
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            trial.note(run_id=card["run_id"])
            trial.finish(card_metrics(card))
            return trial.values
    except Pruned:
        return None


def trial_config(config: Config, folder: Path, number: int, sweep: SweepSpec) -> Config:
    """Return the config of a trial: its name, and its share of the cores.

    One that confirms another is called as its folder is, since its number is no trial's.
    """
    hardware = config["hardware"]
    if hardware["threads"] is None:
        share = (os.cpu_count() or 1) // (sweep.n_jobs * hardware["processes"])
        hardware = {**hardware, "threads": max(1, share)}
    name = f"trial-{number:03d}" if folder.name == str(number) else folder.name
    return {**config, "name": name, "hardware": hardware}


def _run(config: Config, folder: Path, reporter: TrialReporter | None) -> None:
    """Do what is left of the trial. Raises `Pruned` also where an earlier attempt was."""
    # Other runs end what a killed process has left.
    deadline = time.monotonic() + MENDED_WITHIN
    while is_held(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    history = RunHistory.read(folder / SPOOL)
    if history is None:
        spec = RunSpec.parse(config)
        write_config(folder, config)
        launch(spec, folder, parent_run(folder.parent), reporter=reporter)
    elif pruned := history.events.get(PRUNED):
        raise Pruned(pruned[-1]["step"])
    elif history.status != "FINISHED":
        resumption = plan_resume(folder, [])
        launch(resumption.spec, folder, None, resumption.checkpoint, reporter)


def card_metrics(card: dict[str, Any]) -> dict[str, float]:
    """Return a card's numbers by the names that a sweep's objective has; NaN for null."""
    metrics = {f"eval/{name}": value for name, value in card["after"].items()}
    metrics["eval/win_rate"] = card["win_rate"]
    metrics |= {f"perf/{name}": card[name] for name in COSTS}
    return {name: math.nan if value is None else value for name, value in metrics.items()}
