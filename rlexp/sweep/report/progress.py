"""What a person sees of a sweep: a line for each trial that ends, and the best at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from rlexp.rendering.numbers import brief
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.ownership import ERROR, RETRIES, WITHDRAWN, trials
from rlexp.sweep.report.mlflow_parent import ParentRunLogger, best_trials
from rlexp.sweep.report.report import SweepReport


class SweepProgress:
    """Tells the terminal and the sweep's MLflow run of each trial."""

    def __init__(self, spec: SweepSpec, study: optuna.Study, parent: ParentRunLogger) -> None:
        self._spec, self._study, self._parent = spec, study, parent
        self._console = Console(highlight=False)

    def sweep_begins(self, budget: int, launcher: str) -> None:
        """What is about to be done."""
        spec = self._spec
        sampler, pruner = (str(each["_target_"]) for each in (spec.sampler, spec.pruner))
        how = f"{sampler.rpartition('.')[2]}, {pruner.rpartition('.')[2]}, {launcher}"
        self._say("sweep", f"{spec.name}: {budget} trials, {spec.n_jobs} at once, {how}")
        if there := trials(self._study):
            done = [each for each in there if each.state.is_finished()]
            begun = f", {len(there) - len(done)} begun" if len(there) > len(done) else ""
            self._say("going on", f"{len(done)} trials have ended{begun}")

    def begins(self, trial: FrozenTrial) -> None:
        """A trial is about to run."""
        if retries := trial.user_attrs.get(RETRIES):
            self._say(self._label(trial), f"goes on, attempt {retries + 1}")

    def died(self, trial: FrozenTrial, how: str, again: bool) -> None:
        """The process of a trial came to an unnatural end."""
        self._say(self._label(trial), f"died, {how}" + (": will be gone on with" * again))

    def ended(self, trial: FrozenTrial) -> None:
        """A trial has ended."""
        attributes = trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            values = zip(self._spec.objectives, trial.values, strict=True)
            text = ", ".join(f"{name} {value:.4g}" for name, value in values)
        elif trial.state == TrialState.PRUNED:
            text = f"pruned at step {trial.last_step}"
        else:
            why = attributes.get(ERROR) or attributes.get(WITHDRAWN) or "for no known reason"
            text = f"failed: {why.splitlines()[0]}"
        params = "  ".join(f"{key}={brief(value)}" for key, value in self._params(trial))
        self._say(self._label(trial), f"{text}   {params}")
        self._parent.progress()

    def sweep_ends(self) -> None:
        """The best, and where everything is."""
        for trial in best_trials(self._study):
            values = zip(self._spec.objectives, trial.values, strict=True)
            text = ", ".join(f"{name} {value:.4g}" for name, value in values)
            params = " ".join(f"{key}={brief(value)}" for key, value in trial.params.items())
            self._say("best", f"trial {trial.number}: {text}   {params}")

    def tell(self, report: SweepReport) -> None:
        """What was written for people."""
        for what, text in report.lines():
            self._say(what, text)

    def _label(self, trial: FrozenTrial) -> str:
        return f"trial {trial.number}"

    def _params(self, trial: FrozenTrial) -> Iterable[tuple[str, Any]]:
        return trial.params.items()

    def _say(self, what: str, text: str) -> None:
        self._console.print(f"{what:12} {text}", markup=False, soft_wrap=True)
