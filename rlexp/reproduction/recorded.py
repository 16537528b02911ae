"""A recorded run: what the tracking store holds of it; its folder is not needed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlexp.config.stored import read_config
from rlexp.runtime import lock
from rlexp.runtime.run_folder import CONFIG, ORIGIN, PACKAGES
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.provenance.manifest import Facts, read_attempts
from rlexp.tracking.query.records import Record, Records

COMPARED = ("train/", "rollout/", "eval/")
"""Groups of metrics that must come out the same; `perf/` and `system/` measure the machine."""

Points = dict[int, float]
"""A metric's values by step."""


@dataclass(frozen=True)
class RecordedRun:
    """A run that is to be reproduced."""

    record: Record
    config: dict[str, Any]
    """As composed and resolved then; secrets stand as `***`."""
    attempts: list[Facts]
    """`origin.json`: one entry, and one more for each resume."""
    packages: dict[str, str]
    """Installed versions by name."""
    metrics: dict[str, Points]

    @property
    def origin(self) -> Facts:
        """Facts of the last attempt, whose config is the one that the store has."""
        return self.attempts[-1]

    def stages(self) -> list[Facts]:
        """Return an attempt for each length that the run was trained to, the last one of each.

        A run that was killed and gone on with is had again in one go. One that was extended is not:
        the learning rate of its first steps followed from the first length.
        """
        lengths = [attempt["settings"]["train"]["max_steps"] for attempt in self.attempts]
        following = zip(self.attempts, lengths, [*lengths[1:], None], strict=True)
        return [attempt for attempt, length, next_length in following if length != next_length]


def read_recorded_run(records: Records, word: str) -> RecordedRun:
    """Return the run that a word names, the newest where it names several.

    Raises `UserError` for no such run, a whole sweep, one that is still running, and one of which
    the store does not hold enough.
    """
    record = records.select_one(word)
    if record.is_sweep:
        trials = sorted(records.trials(record), key=lambda trial: trial.started)
        shown = ", ".join(f"{trial.name} ({trial.run_id[:8]})" for trial in trials[:8])
        remedy = f"Name a trial by its id: {shown}{', …' if len(trials) > 8 else ''}"
        got = f"{record.name}, a sweep of {len(trials)} trials"
        raise UserError(Problem(word, got, "one run", remedy))
    if record.status == "RUNNING" and record.folder is not None and lock.is_held(record.folder):
        got = f"{record.name}, which is still running"
        raise UserError(Problem(word, got, "a run that has ended", "Wait for it, or end it."))
    files = {name: _artifact(records, record, name) for name in (CONFIG, PACKAGES)}
    lines = files[PACKAGES].read_text(encoding="utf-8").split()
    return RecordedRun(
        record=record,
        config=read_config(files[CONFIG]),
        attempts=read_attempts(_artifact(records, record, ORIGIN)),
        packages=dict(line.split("==", 1) for line in lines),
        metrics=compared_metrics(records.history(record)),
    )


def compared_metrics(history: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, Points]:
    """Return the metrics of a run that must come out the same."""
    return {name: dict(points) for name, points in history.items() if name.startswith(COMPARED)}


def _artifact(records: Records, record: Record, name: str) -> Path:
    try:
        return records.artifact(record, name)
    except FileNotFoundError as error:
        got = f"{record.name} ({record.run_id}), of which the store has no {name}"
        is_here = record.folder is not None and record.folder.is_dir()
        where = f" {shlex.quote(str(record.folder))}" if is_here else ""
        remedy = f"If its folder is still there, send what is missing: python -m rlexp sync{where}"
        raise UserError(Problem("run", got, "a run that is whole", remedy)) from error
