"""The MLflow run of a whole sweep, under which its trials are folded; live while they run.

It goes to MLflow in the way that a run's events do: through a spool in the sweep's folder and a
courier behind it. A sweep that goes on appends to the same spool, and is the same MLflow run.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rlexp.rendering.numbers import brief
from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import SPOOL
from rlexp.runtime.signals import Terminated
from rlexp.spec.sweep import SweepSpec
from rlexp.sweep import study as attributes
from rlexp.sweep.ownership import trials
from rlexp.sweep.report.report import Report
from rlexp.sweep.space.space import Space
from rlexp.tracking.provenance import environment
from rlexp.tracking.query.record import SWEEP_TAG
from rlexp.tracking.secrets import redacted_values
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.spool.parent_run import keep_parent_run
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool
from rlexp.tracking.spool.uploader import Uploader
from rlexp.tracking.store.connection import resolve

PATIENCE = 30.0
"""Seconds that a sweep waits for the store, at its beginning and at its end."""

MENDED_WITHIN = 5.0
"""Seconds that other runs may take to send what a killed sweep has left."""

log = logging.getLogger(__name__)


class Parent:
    """Tells of the sweep what changes; does nothing where there is no tracking."""

    def __init__(self, spec: SweepSpec, study: optuna.Study, spool: Spool | None = None) -> None:
        self._spec, self._study, self._spool = spec, study, spool
        self._told: dict[str, Any] = {}

    def begin(self, space: Space, tags: Mapping[str, str]) -> None:
        """The start event, and what the sweep is, as parameters."""
        told = RunHistory.read(Path(self._spec.folder) / SPOOL)
        start: dict[str, Any] = {"id": uuid.uuid4().hex, "name": self._spec.name, "parent": None}
        if told:
            start = {name: told.start[name] for name in start} | {"resumed": True}
        self._append("start", tags=dict(tags), sweep=True, **start)
        if told is None:
            params = {
                "sampler": _class_name(self._spec.sampler),
                "pruner": _class_name(self._spec.pruner),
                "objective": ", ".join(self._spec.objectives),
                "direction": ", ".join(self._spec.directions),
                "n_trials": self._spec.n_trials,
                "n_jobs": self._spec.n_jobs,
                **{f"space.{key}": text for key, text in space.described().items()},
            }
            self._append("params", params=params)

    def progress(self) -> None:
        """How far the study is, and what is the best so far."""
        counts = {
            f"sweep/{state.name.lower()}": float(len(trials(self._study, state)))
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        }
        best = best_trials(self._study)
        if best:
            numbers = ", ".join(str(each.number) for each in best)
            self._append_new("tags", tags={"best": numbers})
            self._append_new("note", text=described(self._spec, best))
        values = {}
        if len(best) == 1:
            name = self._spec.objectives[0].rpartition("/")[2]
            values = {f"sweep/best_{name}": best[0].values[0]}
        metrics = {**counts, **values}
        self._append_new("metrics", step=int(sum(counts.values())), metrics=metrics)

    def report(self, report: Report) -> None:
        """The report, and how sure the ranking is."""
        if self._spool is None:
            return
        for event in artifact_events(report):
            self._spool.append(event)
        if certainty := " ".join(report.certainty):
            text = described(self._spec, best_trials(self._study))
            self._append_new("note", text=f"{text}\n\n{certainty}")

    def end(self, error: BaseException | None) -> None:
        """The end event."""
        status = "FAILED" if error else "FINISHED"
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            status = "KILLED"
        elif error is not None:
            self._append("tags", tags={"error": f"{type(error).__name__}: {error}"})
        self._append("end", status=status)

    def _append_new(self, kind: str, **fields: Any) -> None:
        if self._told.get(kind) != fields:
            self._told[kind] = fields
            self._append(kind, **fields)

    def _append(self, kind: str, **fields: Any) -> None:
        if self._spool is not None:
            now = time.time_ns() // 1_000_000
            self._spool.append({"t": now, "kind": kind, **redacted_values(fields)})


@contextmanager
def parent_of(
    spec: SweepSpec, study: optuna.Study, space: Space, tracking: Mapping[str, Any] | None
) -> Iterator[Parent]:
    """The sweep's MLflow run, begun or gone on with; it ends as the block ends.

    Where another process tells of this sweep already, this one only adds trials to its run.

    Args:
        spec: the sweep.
        study: whose attribute `parent` is the MLflow run, for other machines.
        space: what is searched.
        tracking: the run's config group of this name; None without one.
    """
    folder = Path(spec.folder)
    if not tracking or tracking["uri"] is None:
        yield Parent(spec, study)
        return
    if study.user_attrs.get(attributes.PARENT) and not (folder / SPOOL).exists():
        keep_parent_run(folder, study.user_attrs[attributes.PARENT])  # another machine's
        yield Parent(spec, study)
        return
    with ExitStack() as open_things:
        if not _taken(folder, open_things):
            yield Parent(spec, study)
            return
        yield from _told(spec, study, space, tracking)


def _taken(folder: Path, open_things: ExitStack) -> bool:
    """Whether the sweep's folder is this process's, after those who only mend it have gone."""
    deadline = time.monotonic() + MENDED_WITHIN
    while True:
        try:
            open_things.enter_context(lock(folder))
        except Held:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def _told(
    spec: SweepSpec, study: optuna.Study, space: Space, tracking: Mapping[str, Any]
) -> Iterator[Parent]:
    folder = Path(spec.folder)
    spool = Spool(folder / SPOOL)
    parent = Parent(spec, study, spool)
    tags = {
        **environment.tags(environment.repository()),
        "folder": str(folder.absolute()),
        "study": spec.name,
        SWEEP_TAG: " ".join(f"{key}={text}" for key, text in space.described().items()),
        **tracking["tags"],
    }
    parent.begin(space, {key: str(value) for key, value in tags.items()})
    uri = resolve(tracking["uri"])
    courier = Uploader(Shipper(folder, uri, tracking["experiment"]), lambda: None, uri)
    courier.start()
    # Trials look for it when they begin, and it is the study's for other machines.
    run_id = courier.run_id(PATIENCE)
    if run_id and study.user_attrs.get(attributes.PARENT) is None:
        study.set_user_attr(attributes.PARENT, run_id)
    error: BaseException | None = None
    try:
        yield parent
    except BaseException as raised:
        error = raised
        raise
    finally:
        parent.end(error)
        if trouble := courier.stop(PATIENCE):
            log.warning("%s. They are kept in %s", trouble, folder / SPOOL)
        spool.close()


def artifact_events(report: Report) -> Iterator[dict[str, Any]]:
    """What the spool of a sweep says of its report."""
    for path in report.artifacts():
        told = str(path.relative_to(report.folder))
        now = time.time_ns() // 1_000_000
        yield {"t": now, "kind": "artifact", "path": told, "folder": None}


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or those of the Pareto front; none before one is complete."""
    if not trials(study, TrialState.COMPLETE):
        return []
    return study.best_trials if len(study.directions) > 1 else [study.best_trial]


def described(spec: SweepSpec, best: list[FrozenTrial]) -> str:
    """The best trials in Markdown, as the MLflow run shows them."""
    title = "Best trial" if len(best) == 1 else "Best trials: none is better in all objectives"
    lines = [f"**{title}**", ""]
    for trial in best:
        values = zip(spec.objectives, trial.values, strict=True)
        result = ", ".join(f"{name} {value:.4g}" for name, value in values)
        params = " ".join(f"{key}={brief(value)}" for key, value in trial.params.items())
        place = f"{spec.folder}/{trial.number}/config.yaml"
        lines.append(f"- trial {trial.number}: {result} with `{params}` (`{place}`)")
    return "\n".join(lines)


def _class_name(config: Mapping[str, Any]) -> str:
    return str(config["_target_"]).rpartition(".")[2]
