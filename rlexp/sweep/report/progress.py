"""Progress of a sweep on the terminal: a line for each trial that ends, the best at the end."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from rlexp.rendering.numbers import brief
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.ownership import ERROR, RETRIES, WITHDRAWN, trials
from rlexp.sweep.report.best_configs import class_name, format_objectives, format_params
from rlexp.sweep.report.mlflow_parent import ParentRunLogger, best_trials
from rlexp.sweep.report.report import SweepReport


class SweepProgress:
    """Writes to the terminal, and to the sweep's MLflow run, what becomes of each trial."""

    def __init__(self, spec: SweepSpec, study: optuna.Study, parent_run: ParentRunLogger) -> None:
        self._spec, self._study, self._parent_run = spec, study, parent_run
        self._console = Console(highlight=False)

    def sweep_started(self, budget: int, launcher: str) -> None:
        """Show what is about to be done."""
        spec = self._spec
        classes = (class_name(config["_target_"]) for config in (spec.sampler, spec.pruner))
        how = ", ".join([*classes, launcher])
        self._print("sweep", f"{spec.name}: {budget} trials, {spec.n_jobs} at once, {how}")
        if earlier := trials(self._study):
            finished = sum(trial.state.is_finished() for trial in earlier)
            text, begun = f"{finished} trials have ended", len(earlier) - finished
            self._print("going on", f"{text}, {begun} begun" if begun else text)

    def trial_started(self, trial: FrozenTrial) -> None:
        """Show a trial that is about to run again."""
        if retries := trial.user_attrs.get(RETRIES):
            self._print(self._label(trial), f"goes on, attempt {retries + 1}")

    def trial_died(self, trial: FrozenTrial, how: str, requeued: bool) -> None:
        """Show a trial whose process came to an unnatural end."""
        self._print(self._label(trial), f"died, {how}" + (": will be gone on with" * requeued))

    def trial_ended(self, trial: FrozenTrial) -> None:
        """Show what a trial came to."""
        attributes = trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            text = format_objectives(self._spec.objectives, trial.values)
        elif trial.state == TrialState.PRUNED:
            text = f"pruned at step {trial.last_step}"
        else:
            why = attributes.get(ERROR) or attributes.get(WITHDRAWN) or "for no known reason"
            text = f"failed: {why.splitlines()[0]}"
        params = "  ".join(f"{key}={brief(value)}" for key, value in self._params(trial))
        self._print(self._label(trial), f"{text}   {params}")
        self._parent_run.log_progress()

    def sweep_ended(self) -> None:
        """Show the best trials."""
        for trial in best_trials(self._study):
            text = format_objectives(self._spec.objectives, trial.values)
            self._print("best", f"trial {trial.number}: {text}   {format_params(trial)}")

    def report_written(self, report: SweepReport) -> None:
        """Show what was written for people."""
        for label, text in report.lines():
            self._print(label, text)

    def _label(self, trial: FrozenTrial) -> str:
        return f"trial {trial.number}"

    def _params(self, trial: FrozenTrial) -> Iterable[tuple[str, object]]:
        return trial.params.items()

    def _print(self, label: str, text: str) -> None:
        self._console.print(f"{label:12} {text}", markup=False, soft_wrap=True)
