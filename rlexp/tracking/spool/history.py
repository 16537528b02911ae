"""The history of a run, read from its spool, so that nothing is told twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlexp.tracking.spool.spool import Event, read_events

STOPPED = "stopped"
"""Event in the spool: a guard has ended the training."""

Point = tuple[float, int]
"""A metric's value, and the milliseconds since 1970 at which it was told."""


@dataclass
class RunHistory:
    """What all attempts at a run have told so far."""

    start: Event = field(default_factory=dict)
    """The first attempt's: `id`, `name`, `parent` and `tags`."""
    attempts: int = 0
    """Times that the run was started."""
    status: str | None = None
    """What the last attempt ended with; None if it was cut off."""
    points: dict[int, dict[str, Point]] = field(default_factory=dict)
    """Metrics by step and name, without those of the machine."""
    params: dict[str, Any] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    """Files of the tables of samples."""
    checkpoints: set[tuple[int, str]] = field(default_factory=set)
    """Step and name of each, wherever the run's folder stood."""
    digest: str | None = None
    """Of the data."""
    events: dict[str, list[Event]] = field(default_factory=dict)
    """What MLflow has no place for, by kind."""
    machine_seconds: int = 0
    """Where the machine's metrics have come to."""
    total_seconds: float = 0.0
    """All attempts together, each up to the last that it told."""
    phase_seconds: dict[str, float] = field(default_factory=dict)
    """The same for each phase that was told of."""

    @classmethod
    def read(cls, spool: Path) -> RunHistory | None:
        """Read a spool; None where there is none in which a run has begun."""
        history = cls()
        if spool.is_file():
            attempt: list[Event] = []
            for event, _ in read_events(spool):
                if event["kind"] == "start":
                    history._count_time(attempt)
                    attempt = []
                attempt.append(event)
                history._add(event)
            history._count_time(attempt)
        return history if history.attempts else None

    def history(self) -> list[tuple[int, dict[str, float]]]:
        """Return metrics by step, in the order of the steps."""
        return [
            (step, {name: value for name, (value, _) in points.items()})
            for step, points in sorted(self.points.items())
        ]

    @property
    def stopped_at(self) -> int | None:
        """The step at which a guard ended the run; None if none did, or if it has gone on since."""
        stops = self.events.get(STOPPED, [])
        step = stops[-1]["step"] if stops else None
        return step if step == max(self.points, default=0) else None

    def _add(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "metrics":
            self._add_metrics(event)
        elif kind == "start":
            self.start = self.start or event
            self.attempts += 1
            self.status = None
        elif kind == "end":
            self.status = event["status"]
        elif kind == "params":
            self.params |= event["params"]
        elif kind == "table":
            self.tables.add(event["file"])
        elif kind == "checkpoint":
            self.checkpoints.add((event["step"], Path(event["path"]).name))
        elif kind == "dataset" and "context" not in event:  # not one that the run has made
            self.digest = event["digest"]
        elif kind == "event":
            self.events.setdefault(event["event"], []).append(event)

    def _add_metrics(self, event: Event) -> None:
        # Those of the machine come by seconds, not by steps.
        if all(name.startswith("system/") for name in event["metrics"]):
            self.machine_seconds = max(self.machine_seconds, event["step"])
            return
        points = self.points.setdefault(event["step"], {})
        for name, value in event["metrics"].items():
            # A step that was told twice counts as it was told first: MLflow has that one.
            points.setdefault(name, (float(value), event["t"]))

    def _count_time(self, attempt: list[Event]) -> None:
        """Add an attempt's time. A phase that was cut off lasted until the last that was told."""
        if not attempt:
            return
        begun: dict[str, int] = {}
        spans: list[tuple[str, int, int]] = []
        for event in attempt:
            if event["kind"] == "event" and event["event"] == "phase":
                if event["begins"]:
                    begun[event["name"]] = event["t"]
                elif event["name"] in begun:
                    spans.append((event["name"], begun.pop(event["name"]), event["t"]))
        end = attempt[-1]["t"]
        for name, since, until in [*spans, *((name, since, end) for name, since in begun.items())]:
            self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + (until - since) / 1000
        self.total_seconds += (end - attempt[0]["t"]) / 1000
