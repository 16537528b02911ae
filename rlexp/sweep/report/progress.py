"""Progress of a sweep: lines on the terminal, and the MLflow run under which its trials are folded.

That goes to MLflow in the way that a run's events do: through a spool in the sweep's folder and an
uploader behind it. A resumed sweep appends to the same spool, and is the same MLflow run.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from rlexp.rendering.numbers import brief
from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import CONFIG, SPOOL
from rlexp.runtime.signals import Terminated
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep import study as attributes
from rlexp.sweep.ownership import ERROR, RETRIES, WITHDRAWN, trials
from rlexp.sweep.report.best_configs import class_name, format_objectives, format_params
from rlexp.sweep.report.report import SweepReport
from rlexp.sweep.space.space import SearchSpace
from rlexp.tracking.provenance import environment
from rlexp.tracking.query.record import SWEEP_TAG
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.spool.mlflow_writer import write_parent_run
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool
from rlexp.tracking.spool.uploader import Uploader
from rlexp.tracking.store.connection import resolve

UPLOAD_TIMEOUT = 30.0
"""Seconds that a sweep waits for the store, at its beginning and at its end."""
LOCK_TIMEOUT = 5.0
"""Seconds that other runs may take to send what a killed sweep has left."""

log = logging.getLogger(__name__)


class ParentRunLogger:
    """Writes to the spool what changes in a sweep; without a spool it does nothing."""

    def __init__(self, spec: SweepSpec, study: optuna.Study, spool: Spool | None = None) -> None:
        self._spec, self._study, self._spool = spec, study, spool
        self._last_fields: dict[str, dict[str, Any]] = {}

    def log_start(self, space: SearchSpace, tags: Mapping[str, str]) -> None:
        """Write the start event, and what the sweep is, as parameters."""
        history = RunHistory.read(Path(self._spec.folder) / SPOOL)
        start: dict[str, Any] = {"id": uuid.uuid4().hex, "name": self._spec.name, "parent": None}
        if history:
            start = {name: history.start[name] for name in start} | {"resumed": True}
        self._append("start", tags=dict(tags), sweep=True, **start)
        if history is None:
            spec = self._spec
            params = {
                "sampler": class_name(spec.sampler["_target_"]),
                "pruner": class_name(spec.pruner["_target_"]),
                "objective": ", ".join(spec.objectives),
                "direction": ", ".join(spec.directions),
                "n_trials": spec.n_trials,
                "n_jobs": spec.n_jobs,
                **{f"space.{key}": text for key, text in space.descriptions().items()},
            }
            self._append("params", params=params)

    def log_progress(self) -> None:
        """Write how far the study is, and what is the best so far."""
        metrics = {
            f"sweep/{state.name.lower()}": float(len(trials(self._study, state)))
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        }
        ended = int(sum(metrics.values()))
        if best := best_trials(self._study):
            numbers = ", ".join(str(trial.number) for trial in best)
            self._append_changed("tags", tags={"best": numbers})
            self._append_changed("note", text=best_trials_note(self._spec, best))
        if len(best) == 1:
            name = self._spec.objectives[0].rpartition("/")[2]
            metrics[f"sweep/best_{name}"] = best[0].values[0]
        self._append_changed("metrics", step=ended, metrics=metrics)

    def log_report(self, report: SweepReport) -> None:
        """Write the report's files as artifacts, and how sure the ranking is."""
        if self._spool is None:
            return
        record_artifacts(report, self._spool)
        if certainty := " ".join(report.certainty):
            text = best_trials_note(self._spec, best_trials(self._study))
            self._append_changed("note", text=f"{text}\n\n{certainty}")

    def log_end(self, error: BaseException | None) -> None:
        """Write the end event."""
        status = "FAILED" if error else "FINISHED"
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            status = "KILLED"
        elif error is not None:
            self._append("tags", tags={"error": f"{type(error).__name__}: {error}"})
        self._append("end", status=status)

    def _append_changed(self, kind: str, **fields: Any) -> None:
        """Append an event, unless the last one of its kind said the same."""
        if self._last_fields.get(kind) != fields:
            self._last_fields[kind] = fields
            self._append(kind, **fields)

    def _append(self, kind: str, **fields: Any) -> None:
        if self._spool is not None:
            self._spool.record(kind, **fields)


@contextmanager
def parent_run_logger(
    spec: SweepSpec, study: optuna.Study, space: SearchSpace, tracking: Mapping[str, Any] | None
) -> Iterator[ParentRunLogger]:
    """Open the sweep's MLflow run, new or resumed; it ends as the block ends.

    Where another process writes to it already, this one only adds trials below it; other machines
    know it by the study's attribute `parent`. `tracking` is the config's group of this name.
    """
    folder = Path(spec.folder)
    with ExitStack() as stack:
        parent_run = ParentRunLogger(spec, study)
        if not tracking or tracking["uri"] is None:
            pass
        elif study.user_attrs.get(attributes.PARENT) and not (folder / SPOOL).exists():
            write_parent_run(folder, study.user_attrs[attributes.PARENT])  # another machine's
        else:
            with suppress(Held):  # by another process that works on the sweep
                # after those who only close a dead run in it have gone
                stack.enter_context(lock(folder, LOCK_TIMEOUT))
                parent_run = stack.enter_context(_uploading(spec, study, space, tracking))
        yield parent_run


@contextmanager
def _uploading(
    spec: SweepSpec, study: optuna.Study, space: SearchSpace, tracking: Mapping[str, Any]
) -> Iterator[ParentRunLogger]:
    """Open the spool, and upload what comes into it until the block is left."""
    folder = Path(spec.folder)
    spool = Spool(folder / SPOOL)
    parent_run = ParentRunLogger(spec, study, spool)
    tags = {
        **environment.tags(environment.repository()),
        "folder": str(folder.absolute()),
        "study": spec.name,
        SWEEP_TAG: " ".join(f"{key}={text}" for key, text in space.descriptions().items()),
        **tracking["tags"],
    }
    parent_run.log_start(space, {key: str(value) for key, value in tags.items()})
    uri = resolve(tracking["uri"])
    uploader = Uploader(Shipper(folder, uri, tracking["experiment"]), lambda: None, uri)
    uploader.start()
    # Trials look for it when they begin, and it is the study's for other machines.
    run_id = uploader.run_id(UPLOAD_TIMEOUT)
    if run_id and study.user_attrs.get(attributes.PARENT) is None:
        study.set_user_attr(attributes.PARENT, run_id)
    error: BaseException | None = None
    try:
        yield parent_run
    except BaseException as raised:
        error = raised
        raise
    finally:
        parent_run.log_end(error)
        if trouble := uploader.stop(UPLOAD_TIMEOUT):
            log.warning("%s. They are kept in %s", trouble, folder / SPOOL)
        spool.close()


def record_artifacts(report: SweepReport, spool: Spool) -> None:
    """Write the events by which a report's files become artifacts."""
    for path in report.artifacts():
        spool.record("artifact", path=str(path.relative_to(report.folder)), folder=None)


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best trial, or those of the Pareto front; none before one is complete."""
    if not trials(study, TrialState.COMPLETE):
        return []
    return study.best_trials if len(study.directions) > 1 else [study.best_trial]


def best_trials_note(spec: SweepSpec, best: list[FrozenTrial]) -> str:
    """Return the best trials in Markdown, as the MLflow run shows them."""
    title = "Best trial" if len(best) == 1 else "Best trials: none is better in all objectives"
    lines = [f"**{title}**", ""]
    for trial in best:
        result = f"{format_objectives(spec.objectives, trial.values)} with `{format_params(trial)}`"
        lines.append(f"- trial {trial.number}: {result} (`{spec.folder}/{trial.number}/{CONFIG}`)")
    return "\n".join(lines)


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
