"""The best trials run again with other seeds: a study of its own beside the sweep's.

Its trials wait from the beginning, each with its command line; so all that keeps a sweep from
losing or repeating trials (slots, signs of life, retries, several machines) keeps these too, and
they take nothing from the sweep's budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rlexp.spec.sweep import NO_PRUNER, SweepSpec
from rlexp.sweep import ownership
from rlexp.sweep import study as attributes
from rlexp.sweep.confirmation.ranking import CONFIRMS, SEED, best_candidates
from rlexp.sweep.loop import SweepLoop
from rlexp.sweep.report.mlflow_parent import ParentRunLogger
from rlexp.sweep.report.progress import SweepProgress
from rlexp.sweep.study import open_study, patiently
from rlexp.sweep.workers.slots import JobOutcome

TAG = "confirm"
"""Of the MLflow runs."""


def confirmation_spec(spec: SweepSpec) -> SweepSpec:
    """The study that confirms the one of a sweep: in the same folder, and without a pruner."""
    return spec.model_copy(
        update={
            "name": f"{spec.name}{attributes.CONFIRM}",
            "sampler": {"_target_": "optuna.samplers.RandomSampler"},
            "pruner": {"_target_": NO_PRUNER},
        }
    )


class ConfirmationLoop(SweepLoop):
    """Runs what waits, and asks for nothing new."""

    def enqueue(self, study: optuna.Study, base_seed: int) -> None:
        """Let the runs wait that have not been made; those that failed are tried once more.

        May be called again after an outage in the middle.

        Args:
            study: of the sweep, whose best trials are meant.
            base_seed: with which its trials were run.
        """
        there = {_key(trial) for trial in ownership.trials(self.study, *ownership.BUDGETED)}
        for trial in best_candidates(study)[: self.spec.confirm_best]:
            for seed in range(base_seed + 1, base_seed + 1 + self.spec.confirm):
                if (trial.number, seed) not in there:
                    self.study.enqueue_trial({}, _attributes(trial, seed))

    def _asks_for_more(self, there: Sequence[FrozenTrial]) -> bool:
        return False

    def _is_done(self) -> bool:
        return not ownership.trials(self.study, TrialState.WAITING, TrialState.RUNNING)

    def _is_surplus(self, trial: FrozenTrial) -> bool:
        """Whether another machine had let the same run wait before."""
        same = [
            each
            for each in ownership.trials(self.study, *ownership.BUDGETED)
            if _key(each) == _key(trial) and each.number < trial.number
        ]
        return bool(same)

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        return [*super()._overrides(trial), "hydra.sweeper.confirms=true"]

    def _subfolder(self, trial: FrozenTrial) -> str:
        number, seed = _key(trial)
        return f"confirm-{number}-{seed}"

    def _count_failures(self, trial: FrozenTrial, outcome: JobOutcome) -> None:
        """A run that fails says something of the trial that it confirms; the others go on."""


class ConfirmationProgress(SweepProgress):
    """Tells of runs by whom they confirm."""

    def confirmation_begins(self) -> None:
        """What is about to be done, where something is."""
        if waiting := ownership.trials(self._study, TrialState.WAITING, TrialState.RUNNING):
            spec = self._spec
            text = f"the best {spec.confirm_best} with {spec.confirm} further seeds"
            self._say("confirming", f"{text}: {len(waiting)} runs")

    def _label(self, trial: FrozenTrial) -> str:
        return f"confirms {trial.user_attrs[CONFIRMS]}"

    def _params(self, trial: FrozenTrial) -> Iterator[tuple[str, Any]]:
        yield "seed", trial.user_attrs[SEED]


def run_confirmation(work: SweepLoop, parent: ParentRunLogger, base_seed: int) -> None:
    """Run the best trials of a sweep again, and wait until all have ended.

    Args:
        work: the sweep, with its budget met.
        parent: its MLflow run, under which the new runs are folded too.
        base_seed: with which its trials were run; the seeds behind it are taken.
    """
    spec = confirmation_spec(work.spec)
    told = {attributes.OBJECTIVES: spec.objectives, attributes.SPACE: {}, attributes.CONFIG: {}}
    study = open_study(spec, told)
    tell = ConfirmationProgress(spec, study, parent)
    again = ConfirmationLoop(spec, work.space, study, work.launcher, work.known, tell)
    patiently(lambda: again.enqueue(work.study, base_seed))
    tell.confirmation_begins()
    again.run()


def _attributes(trial: FrozenTrial, seed: int) -> dict[str, Any]:
    typed = [
        *trial.user_attrs[ownership.OVERRIDES],
        f"seed={seed}",
        f"++tracking.tags.{TAG}='true'",
    ]
    return {CONFIRMS: trial.number, SEED: seed, ownership.OVERRIDES: typed}


def _key(trial: FrozenTrial) -> tuple[int, int]:
    return trial.user_attrs[CONFIRMS], trial.user_attrs[SEED]
