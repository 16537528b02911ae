"""Trials that are pipelines: `python -m rlexp -m pipeline=rlhf sweep=optuna …`.

The words of a trial are those of a pipeline. Stages that trials have in common run once, in the
first of them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rlexp.pipelines.orders import Orders
from rlexp.pipelines.planning.plan import plan_pipeline
from rlexp.pipelines.planning.typed_words import key_of
from rlexp.pipelines.session import run_plan
from rlexp.pipelines.stage_key import stage_keys
from rlexp.pipelines.stage_runs import folder_of
from rlexp.runtime.run_folder import CARD, PIPELINE
from rlexp.spec.errors import Pruned
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep.pipeline_objectives import measured_by, pipeline_words, split_objective
from rlexp.sweep.trial import Trial, attached, card_metrics

THREADS = "hardware.threads"


class StageReporter:
    """A trial, as the stage that its objective is measured in reports to it."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    @property
    def metric(self) -> str:
        """Return the objective without the stage's name."""
        return split_objective(self._trial.metric)[1]

    def report(self, step: int, value: float) -> bool:
        """Report to the trial."""
        return self._trial.report(step, value)

    def to_config(self) -> dict[str, object]:
        fields = self._trial.to_config()
        fields["_target_"] = f"{__name__}.{reporter_of.__name__}"
        return fields


def reporter_of(sweep: dict[str, object], number: int) -> StageReporter:
    """Return the reporter of a trial that another process owns; undoes `to_config`."""
    return StageReporter(Trial(SweepSpec(**sweep), number))  # pyright: ignore[reportArgumentType]


def run_pipeline_trial(
    words: Sequence[str],
    folder: Path,
    sweep: SweepSpec,
    number: int,
    search_path: Path | None = None,
) -> list[float] | None:
    """Run a trial that is a pipeline, tell the study, and return the objectives; None if pruned.

    Raises what its stages do.
    """
    try:
        with attached(sweep, number) as trial:
            trial.note(folder=str(folder.absolute()))
            with tempfile.TemporaryDirectory(prefix="rlexp-") as scratch:
                plan = plan_pipeline(_with_threads(words, sweep), Path(scratch), search_path)
                keys = stage_keys(plan)
            reporters = {}
            if len(sweep.objectives) == 1:
                reporters[measured_by(plan, trial.metric).name] = StageReporter(trial)
            run_plan(plan, keys, Orders(reporters=reporters, reports=False), folder)
            trial.note(run_id=json.loads((folder / PIPELINE).read_text())["run_id"])
            metrics = {}
            for objective in sweep.objectives:
                stage = measured_by(plan, objective)
                card = json.loads((folder_of(keys[stage.name].key) / CARD).read_text())
                measured = card_metrics(card)
                if (metric := split_objective(objective)[1]) in measured:
                    metrics[objective] = measured[metric]
            trial.finish(metrics)
            return trial.values
    except Pruned:
        return None


def _with_threads(words: Sequence[str], sweep: SweepSpec) -> list[str]:
    """Return a trial's words, with its share of the cores where it has no other."""
    typed = pipeline_words(words)
    if any(key_of(word) == THREADS for word in typed) or sweep.n_jobs == 1:
        return typed
    return [*typed, f"{THREADS}={max(1, (os.cpu_count() or 1) // sweep.n_jobs)}"]
