"""The tracker of one run: what happened, told once, to the spool and to MLflow behind it.

    with Tracker.open(spec, folder) as tracker:
        tracker.log({"train/loss": 0.3}, step=10)

Every call writes a line to `<folder>/spool.jsonl` and returns; a thread carries the lines on to
MLflow. The run ends FINISHED, FAILED with the error, or KILLED after Ctrl-C or SIGTERM, whatever
happens in the block.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rlexp.spec import RunSpec
from rlexp.tracking import provenance
from rlexp.tracking.courier import Courier
from rlexp.tracking.machine import Machine
from rlexp.tracking.redaction import redacted, redacted_values
from rlexp.tracking.shipper import Shipper
from rlexp.tracking.signals import Terminated, sigterm_raises
from rlexp.tracking.spool import SPOOL, Spool
from rlexp.tracking.store import resolve, ui_command

Status = Literal["FINISHED", "FAILED", "KILLED"]

PATIENCE = 30.0
"""Seconds that the end of a run waits for a slow store."""
_PATIENCE_WHEN_KILLED = 5.0
"""The same after a signal: whoever sent it waits some ten seconds before SIGKILL."""

log = logging.getLogger(__name__)


class Tracker:
    """See the module's docstring. Open it with `Tracker.open`."""

    def __init__(self, folder: Path, uri: str | None, experiment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.history: list[tuple[int, dict[str, float]]] = []
        """Metrics by step, in the order of their logging."""
        self._uri = resolve(uri) if uri else None
        self._spool = Spool(folder / SPOOL)
        self._name = folder.name
        self._notes: list[str] = []
        self._latest_step = -1
        self._latest_points: dict[str, tuple[float, int]] = {}
        self._finished = False
        self._began = time.monotonic()
        self._signals = ExitStack()
        self._machine: Machine | None = None
        self._courier: Courier | None = None
        if self._uri:
            shipper = Shipper(folder, self._uri, experiment)
            self._courier = Courier(shipper, self._sample_machine, self._uri)

    @classmethod
    def open(
        cls,
        spec: RunSpec,
        folder: Path,
        *,
        description: str = "",
        parent: str | None = None,
    ) -> Self:
        """Begin to track a run.

        Args:
            spec: the run's validated specification.
            folder: the run's folder; `config.yaml` in it goes to MLflow when it is there.
            description: Markdown, shown on the run's page.
            parent: MLflow run of the sweep that this run belongs to.

        Raises:
            UserError: `tracking.uri` can never work. A store that does not answer is a warning.
        """
        tracker = cls(folder, spec.tracking.uri, spec.tracking.experiment)
        repository = provenance.repository()
        tags = {
            **provenance.tags(repository),
            "folder": str(folder.absolute()),
            **spec.tracking.tags,
        }
        tracker._name = spec.name
        tracker._append("start", id=uuid.uuid4().hex, name=spec.name, parent=parent, tags=tags)
        tracker._append("params", params=provenance.params(spec))
        if description:
            tracker.note(description)
        tracker._provenance_files(repository)
        if tracker._courier:
            tracker._courier.start()
        return tracker

    def __enter__(self) -> Self:
        self._signals.enter_context(sigterm_raises())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._signals:
            self.finish(_status(error), error)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics by name (`group/name`) at an optimizer step. NaN and infinities are kept."""
        values = {name: float(value) for name, value in metrics.items()}
        now = _now()
        self._spool.append({"t": now, "kind": "metrics", "step": step, "metrics": values})
        self.history.append((step, values))
        if step != self._latest_step:
            self._latest_step, self._latest_points = step, {}
        self._latest_points |= {name: (value, now) for name, value in values.items()}

    def samples(self, name: str, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of samples, such as one evaluation's: first the texts, then the numbers.

        Args:
            name: folder of the table among the artifacts; the same for all evaluations of a run.
            step: optimizer step at which they were sampled.
            rows: columns by name; lists of chat messages are written out as text.
        """
        columns = _ordered_columns(rows)
        data = [[step, *(_cell(row.get(column)) for column in columns)] for row in rows]
        self._append(
            "table",
            step=step,
            file=f"{name}/step-{step:06d}.json",
            columns=["step", *columns],
            data=data,
        )

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """A file or a folder, copied to MLflow later: it must stay where it is until the end.

        Args:
            path: as given, or below the run's folder.
            folder: where it goes among the artifacts; None puts it at the top.
        """
        inside = path.is_relative_to(self.folder)
        told = path.relative_to(self.folder) if inside else path.absolute()
        self._append("artifact", path=str(told), folder=folder)

    def dataset(self, name: str, source: str, digest: str, kind: str, rows: int) -> None:
        """The data that the run trains on; MLflow shows the first characters of `digest`."""
        self._append("dataset", name=name, source=source, digest=digest, of=kind, rows=rows)

    def checkpoint(self, step: int, path: Path, metrics: Mapping[str, float]) -> None:
        """Weights on disk, listed among MLflow's models with their metrics; nothing is copied.

        Args:
            step: optimizer step.
            path: folder of the weights; its name tells it from the run's other checkpoints.
            metrics: those of the evaluation at this step, logged just before.
        """
        # With the time of the evaluation's own point the run's series keeps one point a step.
        logged = self._latest_points if step == self._latest_step else {}
        points = {name: logged.get(name, (float(value), _now())) for name, value in metrics.items()}
        slug = re.sub(r"[^\w.-]+", "-", self._name).strip("-") or "run"
        self._append(
            "checkpoint",
            step=step,
            name=f"{path.name}-{slug}",  # lists cut off long names: what differs comes first
            path=str(path.absolute()),
            metrics=points,
        )

    def tag(self, key: str, value: str) -> None:
        """A tag of the MLflow run."""
        self._append("tags", tags={key: value})

    def note(self, text: str) -> None:
        """A paragraph of Markdown on the run's page."""
        self._notes.append(text)
        self._append("note", text="\n\n".join(self._notes))

    def event(self, kind: str, **fields: Any) -> None:
        """Something worth keeping in the spool that MLflow has no place for."""
        self._append("event", event=kind, **fields)

    @property
    def run_id(self) -> str | None:
        """The MLflow run, waited for; None without MLflow or while it does not answer."""
        return self._courier.run_id(PATIENCE) if self._courier else None

    @property
    def ui_command(self) -> str | None:
        """How to look at the run in MLflow; None without it."""
        if not self._uri or not self._courier:
            return None
        return ui_command(self._uri, self._courier.experiment_id)

    def finish(self, status: Status = "FINISHED", error: BaseException | None = None) -> None:
        """End the run and wait a little for the store. Leaving the `with` block does it too."""
        if self._finished:
            return
        self._finished = True
        if error is not None:
            self.tag("error", f"{type(error).__name__}: {error}")
        self._append("end", status=status)
        if self._courier:
            patience = _PATIENCE_WHEN_KILLED if status == "KILLED" else PATIENCE
            if trouble := self._courier.stop(patience):
                log.warning("%s. They are kept in %s", trouble, self.folder / SPOOL)
        self._spool.close()

    def _append(self, kind: str, **fields: Any) -> None:
        self._spool.append({"t": _now(), "kind": kind, **redacted_values(fields)})

    def _provenance_files(self, repository: Path | None) -> None:
        place = self.folder / "provenance"
        written = provenance.files(place, repository)
        config = self.folder / "config.yaml"
        if config.is_file():
            written.append(place / "config.yaml")
            written[-1].write_text(redacted(config.read_text(encoding="utf-8")), encoding="utf-8")
        for path in written:
            self.artifact(path)

    def _sample_machine(self) -> None:
        if self._machine is None:
            self._machine = Machine()
            return
        metrics = self._machine.sample()
        seconds = round(time.monotonic() - self._began)
        self._spool.append({"t": _now(), "kind": "metrics", "step": seconds, "metrics": metrics})


def _now() -> int:
    return time.time_ns() // 1_000_000


def _status(error: BaseException | None) -> Status:
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "FINISHED"
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return "KILLED"
    return "FAILED"


def _ordered_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Reward and its terms, prompt, completion, other texts, other numbers.

    Of a table MLflow shows the first columns that fit.
    """
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "step"]

    def rank(name: str) -> int:
        if name == "reward" or name.startswith("reward_"):
            return 0 if name == "reward" else 1
        if name in ("prompt", "completion"):
            return 2 if name == "prompt" else 3
        values = [row[name] for row in rows if row.get(name) is not None]
        number = bool(values) and all(isinstance(value, (int, float)) for value in values)
        return 5 if number else 4

    return sorted(names, key=rank)


def _cell(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in value)
    return value
