"""Records of the runs in MLflow, found by the words that people type.

    with Records.open("sqlite:////home/ann/mlflow.db") as records:
        for record in records.find(["algo=ppo", "outputs/2026-03-14/15-09-26"]):
            print(record.name, records.history(record)["eval/reward"])

Nothing here changes a store or makes one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from rlexp.runtime.run_folder import SENT
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.query.conditions import (
    RunFilter,
    by_id,
    by_name,
    by_tag,
    is_id_prefix,
    no_such_run,
)
from rlexp.tracking.query.record import PARENT_TAG, Record
from rlexp.tracking.query.sources import ClientSource, SQLiteSource
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.spool import UploadState
from rlexp.tracking.store.read_only import FIRST_RUN, open_read_only, sqlite_file, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Records:
    """Reads the runs of a store; every method raises `UserError` where that no longer answers."""

    def __init__(
        self, source: SQLiteSource | ClientSource, uri: str, experiments: Sequence[str]
    ) -> None:
        self.uri = uri
        self.experiment_ids = list(experiments)
        self._source = source
        self._downloads = tempfile.TemporaryDirectory(prefix="rlexp-")
        self._tables: dict[tuple[str, str], list[str]] = {}

    @classmethod
    def open(cls, uri: str, experiment: str | None = None) -> Self:
        """Open the runs of one MLflow experiment, or of all in the store at a resolved address.

        Raises `UserError` where there is no store, it does not answer, or has no such experiment.
        """
        source = _source(uri)
        names = source.experiments()
        ids = [number for number, name in names.items() if experiment in (None, name)]
        if experiment is not None and not ids:
            near = get_close_matches(experiment, names.values(), n=1, cutoff=0)
            remedy = f"Did you mean {near[0]}?" if near else FIRST_RUN
            wanted = f"an experiment of {redacted(uri)}: {', '.join(names.values())}"
            raise UserError(Problem("tracking.experiment", experiment, wanted, remedy))
        return cls(source, uri, ids)

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's own client of the store, for what is not read here."""
        return open_read_only(self.uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was downloaded."""
        self._downloads.cleanup()

    def all(self, limit: int | None = None, conditions: Sequence[RunFilter] = ()) -> list[Record]:
        """Return the runs of which every condition is true, newest first, at most `limit`."""
        return list(self._source.search(self.experiment_ids, conditions, limit))

    def top(self, limit: int | None = None) -> list[Record]:
        """Return sweeps, and runs that belong to none, newest first."""
        return self.all(limit, [by_tag(PARENT_TAG)])

    def trials(self, sweep: Record) -> list[Record]:
        """Return the runs of a sweep, newest first."""
        return self.all(conditions=[by_tag(PARENT_TAG, sweep.run_id)])

    def find(self, words: Iterable[str]) -> list[Record]:
        """Return the runs that the words name, in their order, none twice, of a sweep its trials.

        Each word is a run's id or its beginning (4 characters or more), its name, its folder, the
        name, id or folder of a sweep, or a filter such as `algo=ppo`. Raises `UserError` for words
        that name nothing, or ids that have this beginning in common.
        """
        named: dict[str, Record] = {}
        problems = []
        for record in self.select(words):
            runs = self.trials(record) if record.is_sweep else [record]
            if not runs:
                got = "a sweep without trials in MLflow"
                problems.append(Problem(record.name, got, "a run with results"))
            named |= {run.run_id: run for run in runs if run.run_id not in named}
        if problems:
            raise UserError(problems)
        return list(named.values())

    def select(self, words: Iterable[str]) -> list[Record]:
        """Return what `find` does, except that a sweep stands for itself."""
        named: dict[str, Record] = {}
        problems: list[Problem] = []
        for word in words:
            try:
                records = self._named(word)
                if not records and "=" in word:
                    records = self.all(conditions=[RunFilter.filter(word)])
            except UserError as error:
                problems.extend(error.problems)
                continue
            if not records:
                problems.append(no_such_run(word, self.all()))
            named |= {record.run_id: record for record in records if record.run_id not in named}
        if problems:
            raise UserError(problems)
        return list(named.values())

    def one(self, word: str) -> Record:
        """Return the run that a word names, the newest where it names several. Raises as `find`."""
        return max(self.find([word]), key=lambda record: record.started)

    def select_one(self, word: str) -> Record:
        """Return what `one` does, except that a sweep stands for itself."""
        return max(self.select([word]), key=lambda record: record.started)

    def get(self, run_id: str) -> Record | None:
        """Return the run of a whole id; None when the store has none that is active."""
        return next(iter(self.all(1, [by_id(run_id)])), None)

    def history(self, record: Record) -> dict[str, list[tuple[int, float]]]:
        """Return each metric's points in the order of their steps, without those of the machine.

        Where a step was logged twice the later point counts.
        """
        names = sorted(name for name in record.metrics if not name.startswith("system/"))
        points = self._source.points(record.run_id, names)
        return {name: sorted(points[name].items()) for name in names if name in points}

    def points(self, record: Record, metric: str) -> list[tuple[int, float]]:
        """Return one metric's points as `history` gives them; none when it was never logged."""
        points = self._source.points(record.run_id, [metric])
        return sorted(points.get(metric, {}).items())

    def artifacts(self, record: Record, folder: str = "") -> list[str]:
        """Return the paths in an artifact folder; none where there is no such folder."""
        with store_errors(self.uri):
            files = self.client.list_artifacts(record.run_id, folder or None)
        return sorted(file.path for file in files)

    def artifact(self, record: Record, path: str) -> Path:
        """Return a file or folder among the run's artifacts, downloaded once; gone after `close`.

        Raises `FileNotFoundError` where the run has no such artifact.
        """
        target = Path(self._downloads.name, record.run_id, path)
        if not target.exists():
            if path not in self.artifacts(record, path.rpartition("/")[0]):
                raise FileNotFoundError(f"the run {record.name} has no artifact {path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with store_errors(self.uri):
                self.client.download_artifacts(record.run_id, path, str(target.parent))
        return target

    def samples(
        self, record: Record, step: int | None = None, name: str = "samples"
    ) -> list[dict[str, Any]]:
        """Return the rows of a step's table of a name, or of the last step's; none without one."""
        if (record.run_id, name) not in self._tables:
            self._tables[record.run_id, name] = self.artifacts(record, name)
        paths = self._tables[record.run_id, name]
        tables = {int(Path(path).stem.removeprefix("step-")): path for path in paths}
        path = tables.get(max(tables, default=0) if step is None else step)
        if path is None:
            return []
        table = json.loads(self.artifact(record, path).read_text(encoding="utf-8"))
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def _named(self, word: str) -> list[Record]:
        """Return runs by whole id or name, else by folder, else by the beginning of an id."""
        if (run := self.get(word)) is not None:
            return [run]
        if runs := self.all(conditions=[by_name(word)]) or self._in_folder(Path(word)):
            return runs
        if not is_id_prefix(word):
            return []
        runs = self.all(conditions=[by_id(word, is_prefix=True)])
        if len(runs) > 1:
            fitting = ", ".join(f"{run.run_id[:12]} ({run.name})" for run in runs[:5])
            got = f"the beginning of {len(runs)} runs' ids: {fitting}"
            raise UserError(Problem(word, got, "one run", "Type more of the id."))
        return runs

    def _in_folder(self, folder: Path) -> list[Record]:
        """Return the run or the sweep of a folder, or else the runs below it."""
        places = {str(folder.absolute()), str(folder.resolve())}
        below = tuple(f"{place}/" for place in places)
        return (
            self.all(conditions=[by_tag("folder", *places)])
            or self._moved(folder)
            or self.all(conditions=[by_tag("folder", *below, is_prefix=True)])
        )

    def _moved(self, folder: Path) -> list[Record]:
        """Return the run of a folder that stood elsewhere when the run began."""
        run_id = UploadState.load(folder / SENT).run_id
        run = self.get(run_id) if run_id else None
        return [run] if run else []


def _source(uri: str) -> SQLiteSource | ClientSource:
    if urlsplit(uri).scheme.partition("+")[0] == "sqlite":
        return SQLiteSource(uri, sqlite_file(uri))
    return ClientSource(open_read_only(uri), uri)
