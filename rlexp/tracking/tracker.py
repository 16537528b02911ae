"""The tracker of one run: it writes what happens to the spool, once, and MLflow is behind that.

    with Tracker.open(spec, folder) as tracker:
        tracker.log({"train/loss": 0.3}, step=10)

Every call writes a line to `<folder>/spool.jsonl` and returns; a thread carries the lines on to
MLflow. The run ends FINISHED, FAILED with the error, or KILLED after Ctrl-C or SIGTERM. In a folder
whose spool has begun the same run goes on: what was logged, by step and name, is not logged again.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

from rlexp.runtime.files import fsync_path
from rlexp.runtime.lock import exclusive
from rlexp.runtime.run_folder import CONFIG, PROVENANCE, SOURCES, SPOOL, step_file
from rlexp.runtime.signals import Terminated, sigterm_raises
from rlexp.spec import RunSpec
from rlexp.spec.errors import Pruned
from rlexp.tracking.provenance import environment
from rlexp.tracking.provenance.manifest import Manifest, collect_facts, copy_sources
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.spool.spool import Spool, now_ms
from rlexp.tracking.spool.uploader import Uploader
from rlexp.tracking.store.connection import resolve, ui_command
from rlexp.tracking.system_metrics import SystemMetrics

Status = Literal["FINISHED", "FAILED", "KILLED"]

PATIENCE = 30.0
"""Seconds that the end of a run waits for a slow store."""
_PATIENCE_WHEN_KILLED = 5.0
"""The same after a signal: whoever sent it waits some ten seconds before SIGKILL."""

_ATTEMPT_TAGS = ("command", "mlflow.source.git.commit", "git.dirty", "platform", "cpu", "gpu")
"""Tags of which a later attempt adds its own, after `resumed.`."""

log = logging.getLogger(__name__)


class Tracker:
    """See the module's docstring. Open it with `Tracker.open`."""

    def __init__(self, folder: Path, uri: str | None, experiment: str) -> None:
        self._uri = resolve(uri) if uri else None
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = ExitStack()
        self._lock.enter_context(exclusive(folder))
        self.told = RunHistory.read(folder / SPOOL)
        """What earlier attempts logged; None when this is the first."""
        self.history = self.told.history() if self.told else []
        """Metrics by step, in the order of their logging."""
        self._spool = Spool(folder / SPOOL)
        self._manifest = Manifest(folder / PROVENANCE)
        self._name = folder.name
        self._notes: list[str] = []
        self._latest_step = -1
        self._latest_points: dict[str, tuple[float, int]] = {}
        self._finished = False
        self._began = time.monotonic() - (self.told.machine_seconds if self.told else 0)
        self._signals = ExitStack()
        self._system_metrics: SystemMetrics | None = None
        self._uploader: Uploader | None = None
        if self._uri:
            shipper = Shipper(folder, self._uri, experiment)
            self._uploader = Uploader(shipper, self._log_system_metrics, self._uri)

    @classmethod
    def open(
        cls, spec: RunSpec, folder: Path, *, description: str = "", parent: str | None = None
    ) -> Self:
        """Begin to track a run, or go on with the one whose spool is in the folder.

        The description is Markdown, shown on the run's page. `parent` is the MLflow run of the
        sweep that this run belongs to; one that goes on keeps its.

        Raises `UserError` where `tracking.uri` can never work, or the run is alive in another
        process. A store that does not answer is a warning.
        """
        tracker = cls(folder, spec.tracking.uri, spec.tracking.experiment)
        repository = environment.repository()
        tags = environment.tags(repository) | {"folder": str(folder.absolute())}
        tags |= spec.tracking.tags
        tracker._name = spec.name
        params = environment.params(spec)
        if tracker.told:
            tracker._resume(tracker.told, params, tags)
        else:
            start = {"id": uuid.uuid4().hex, "name": spec.name, "parent": parent}
            tracker._spool.record("start", **start, tags=tags)
            tracker._spool.record("params", params=params)
        if description:
            tracker.note(description)
        tracker._provenance_files(repository, spec)
        if tracker._uploader:
            tracker._uploader.start()
        return tracker

    def __enter__(self) -> Self:
        self._signals.enter_context(sigterm_raises())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._signals:
            self.finish(_status(error), error)

    def _resume(self, earlier: RunHistory, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Begin another attempt at the same run. MLflow's parameters cannot change: tags say it."""
        identity = {name: earlier.start[name] for name in ("id", "name", "parent")}
        place = {name: tags[name] for name in (environment.HOST_TAG, "folder")}
        first_tags = {**earlier.start["tags"], **place}
        self._spool.record("start", **identity, tags=first_tags, resumed=True)
        changed = {key: value for key, value in params.items() if earlier.params.get(key) != value}
        resumed = {f"resumed.{name}": tags[name] for name in _ATTEMPT_TAGS if name in tags}
        self._spool.record("tags", tags={"resumed": earlier.attempts, **resumed, **changed})

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics by name (`group/name`) at an optimizer step. NaN and infinities are kept."""
        now = now_ms()
        points = {name: (float(value), now) for name, value in metrics.items()}
        earlier = self.told.points.get(step, {}) if self.told else {}
        new = {name: value for name, (value, _) in points.items() if name not in earlier}
        if new:
            self._spool.append({"t": now, "kind": "metrics", "step": step, "metrics": new})
            self.history.append((step, new))
        if step != self._latest_step:
            self._latest_step, self._latest_points = step, {}
        self._latest_points |= {name: earlier.get(name, point) for name, point in points.items()}

    def samples(self, name: str, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log a table of samples, such as one evaluation's: first the texts, then the numbers.

        All evaluations of a run have one `name`, a folder among the artifacts. Lists of chat
        messages are written out as text.
        """
        file = f"{name}/{step_file(step)}"
        if self.told and file in self.told.tables:
            return
        columns = ordered_columns(rows)
        data = [[step, *(json_cell(row.get(column)) for column in columns)] for row in rows]
        self._spool.record("table", step=step, file=file, columns=["step", *columns], data=data)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file or a folder, copied to MLflow later: it must stay where it is until the end.

        It goes into a folder of the artifacts, or to the top.
        """
        inside = path.is_relative_to(self.folder)
        place = path.relative_to(self.folder) if inside else path.absolute()
        self._spool.record("artifact", path=str(place), folder=folder)

    def dataset(
        self, name: str, source: str, digest: str, kind: str, rows: int, made: bool = False
    ) -> None:
        """Log the data that the run reads, or has made; MLflow shows the digest's beginning."""
        facts = {"source": source, "digest": digest, "rows": rows}
        if made:
            self._spool.record("dataset", name=name, of=kind, context="made", **facts)
            return
        if self.told is None or self.told.digest is None:
            self._spool.record("dataset", name=name, of=kind, **facts)
        self.origin(data=facts)

    def origin(self, **facts: Any) -> None:
        """Add to what decides the run's numbers, in `origin.json`; mappings of a name grow."""
        self._manifest.add(**facts)
        self.artifact(self._manifest.path)

    def checkpoint(self, step: int, path: Path, metrics: Mapping[str, float]) -> None:
        """Log weights on disk, listed among MLflow's models with their metrics; nothing is copied.

        The name of their folder tells them from the run's other checkpoints. The metrics are those
        of the evaluation at this step, logged just before.
        """
        if self.told and (step, path.name) in self.told.checkpoints:
            return
        # With the time of the evaluation's own point the run's series keeps one point a step.
        logged = self._latest_points if step == self._latest_step else {}
        now = now_ms()
        points = {name: logged.get(name, (float(value), now)) for name, value in metrics.items()}
        slug = re.sub(r"[^\w.-]+", "-", self._name).strip("-") or "run"
        name = f"{path.name}-{slug}"  # lists cut off long names: what differs comes first
        place = str(path.absolute())
        self._spool.record("checkpoint", step=step, name=name, path=place, metrics=points)

    def removed(self, path: Path) -> None:
        """Log that a checkpoint's weights are no longer on the disk."""
        self._spool.record("removed", path=str(path.absolute()))

    def flush(self) -> None:
        """Wait until the disk has all that was logged: a checkpoint must not be ahead of it."""
        fsync_path(self.folder / SPOOL)

    def tag(self, key: str, value: str) -> None:
        """Set a tag of the MLflow run."""
        self._spool.record("tags", tags={key: value})

    def note(self, text: str, *, alone: bool = False) -> None:
        """Put Markdown on the run's page, below what stands there already or in its place."""
        self._notes = [text] if alone else [*self._notes, text]
        self._spool.record("note", text="\n\n".join(self._notes))

    def event(self, kind: str, **fields: Any) -> None:
        """Log something worth keeping in the spool that MLflow has no place for."""
        self._spool.record("event", event=kind, **fields)

    @property
    def run_id(self) -> str | None:
        """The MLflow run, waited for; None without MLflow or while it does not answer."""
        return self._uploader.run_id(PATIENCE) if self._uploader else None

    @property
    def ui_command(self) -> str | None:
        """How to look at the run in MLflow; None without it."""
        if not self._uri or not self._uploader:
            return None
        return ui_command(self._uri, self._uploader.experiment_id)

    def finish(self, status: Status = "FINISHED", error: BaseException | None = None) -> None:
        """End the run and wait a little for the store. Leaving the `with` block does it too."""
        if self._finished:
            return
        self._finished = True
        try:
            if error is not None and not isinstance(error, Pruned):
                self.tag("error", f"{type(error).__name__}: {error}")
            self._spool.record("end", status=status)
        finally:  # on a full disk there are no last words, but still others who want the lock
            if self._uploader:
                patience = _PATIENCE_WHEN_KILLED if status == "KILLED" else PATIENCE
                if problem := self._uploader.stop(patience):
                    log.warning("%s. They are kept in %s", problem, self.folder / SPOOL)
            self._spool.close()
            self._lock.close()

    def _provenance_files(self, repository: Path | None, spec: RunSpec) -> None:
        place = self.folder / PROVENANCE
        code = environment.GitState.of(repository)
        written = environment.files(place, code)
        config = self.folder / CONFIG
        if config.is_file():
            written.append(place / CONFIG)
            written[-1].write_text(redacted(config.read_text(encoding="utf-8")), encoding="utf-8")
        for path in written:
            self.artifact(path)
        if copy_sources(spec, place / SOURCES):
            self.artifact(place / SOURCES, SOURCES)
        self.origin(**collect_facts(spec, code))

    def _log_system_metrics(self) -> None:
        if self._system_metrics is None:
            self._system_metrics = SystemMetrics()
            return
        second = round(time.monotonic() - self._began)
        event = {"kind": "metrics", "step": second, "metrics": self._system_metrics.sample()}
        self._spool.append({"t": now_ms(), **event})


def _status(error: BaseException | None) -> Status:
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "FINISHED"
    is_killed = isinstance(error, (KeyboardInterrupt, Terminated, Pruned))
    return "KILLED" if is_killed else "FAILED"


def ordered_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns: reward and its terms, prompt, completion, other texts, other numbers.

    Of a table MLflow shows the first columns that fit.
    """
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "step"]

    def rank(name: str) -> int:
        if name in (first := ("reward", "prompt", "completion")):
            return 2 * first.index(name)
        if name.startswith("reward_"):
            return 1
        values = [row[name] for row in rows if row.get(name) is not None]
        is_number = bool(values) and all(isinstance(value, (int, float)) for value in values)
        return 6 if is_number else 5

    return sorted(names, key=rank)


def json_cell(value: Any) -> Any:
    """Return a value as the table holds it; a conversation is written out as text."""
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in value)
    return value
