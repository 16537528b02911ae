"""Confirmation of the best trials with other seeds: a study of its own beside the sweep's.

Its trials wait from the beginning, each with its command line; so all that keeps a sweep from
losing or repeating trials (slots, signs of life, retries, several machines) keeps these too, and
they take nothing from the sweep's budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from rlexp.sweep import ownership
from rlexp.sweep.confirmation.ranking import CONFIRMS, SEED, best_candidates
from rlexp.sweep.loop import SweepLoop
from rlexp.sweep.report.progress import ParentRunLogger, SweepProgress
from rlexp.sweep.study import (
    CONFIG,
    OBJECTIVES,
    SPACE,
    confirmation_spec,
    open_study,
    retry_outages,
)
from rlexp.sweep.workers.slots import JobOutcome

TAG = "confirm"
"""Of the MLflow runs."""


class ConfirmationLoop(SweepLoop):
    """Runs what was enqueued, and asks for nothing new."""

    def enqueue(self, study: optuna.Study, base_seed: int) -> None:
        """Enqueue the runs of the sweep's best that have not been made, failed ones once more.

        Seeds follow that of the sweep. May be called again after an outage in the middle.
        """
        enqueued = {_run_key(run) for run in ownership.trials(self.study, *ownership.BUDGETED)}
        for trial in best_candidates(study)[: self.spec.confirm_best]:
            for seed in range(base_seed + 1, base_seed + 1 + self.spec.confirm):
                if (trial.number, seed) not in enqueued:
                    changes = [f"seed={seed}", f"++tracking.tags.{TAG}='true'"]
                    overrides = [*trial.user_attrs[ownership.OVERRIDES], *changes]
                    run = {CONFIRMS: trial.number, SEED: seed, ownership.OVERRIDES: overrides}
                    self.study.enqueue_trial({}, run)

    def _asks_for_more(self, budgeted: Sequence[FrozenTrial]) -> bool:
        return False

    def _is_done(self) -> bool:
        return not ownership.trials(self.study, TrialState.WAITING, TrialState.RUNNING)

    def _is_surplus(self, trial: FrozenTrial) -> bool:
        """Whether another machine had enqueued the same run before."""
        return any(
            _run_key(run) == _run_key(trial) and run.number < trial.number
            for run in ownership.trials(self.study, *ownership.BUDGETED)
        )

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        return [*super()._overrides(trial), "hydra.sweeper.confirms=true"]

    def _subfolder(self, trial: FrozenTrial) -> str:
        number, seed = _run_key(trial)
        return f"confirm-{number}-{seed}"

    def _count_failures(self, trial: FrozenTrial, outcome: JobOutcome) -> None:
        """Go on: a run that fails says something of the trial that it confirms, not of others."""


class ConfirmationProgress(SweepProgress):
    """Labels runs by the trials that they confirm."""

    def confirmation_started(self) -> None:
        """Show what is about to be done, where something is."""
        if runs := ownership.trials(self._study, TrialState.WAITING, TrialState.RUNNING):
            spec = self._spec
            text = f"the best {spec.confirm_best} with {spec.confirm} further seeds"
            self._print("confirming", f"{text}: {len(runs)} runs")

    def _label(self, trial: FrozenTrial) -> str:
        return f"confirms {trial.user_attrs[CONFIRMS]}"

    def _params(self, trial: FrozenTrial) -> Iterator[tuple[str, object]]:
        yield "seed", trial.user_attrs[SEED]


def run_confirmation(sweep: SweepLoop, parent_run: ParentRunLogger, base_seed: int) -> None:
    """Run the best trials of a sweep again, and wait until all have ended.

    The sweep's budget is met; the new runs are folded under its MLflow run too. Their seeds follow
    `base_seed`.
    """
    spec = confirmation_spec(sweep.spec)
    study = open_study(spec, {OBJECTIVES: spec.objectives, SPACE: {}, CONFIG: {}})
    progress = ConfirmationProgress(spec, study, parent_run)
    loop = ConfirmationLoop(spec, sweep.space, study, sweep.launcher, sweep.compositions, progress)
    # enqueue: all runs at once, each with its command line, since nothing is sampled
    retry_outages(lambda: loop.enqueue(sweep.study, base_seed))
    progress.confirmation_started()
    loop.run()


def _run_key(run: FrozenTrial) -> tuple[int, int]:
    """Return the number of the trial that a run confirms, and its seed."""
    return run.user_attrs[CONFIRMS], run.user_attrs[SEED]
