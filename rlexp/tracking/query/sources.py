"""Where records are read: MLflow's SQLite file, or through its client whatever store that knows.

The client takes two to three seconds to be imported and to open a file, and as long again to search
500 runs. The file answers in tenths: what a list, or the answer to a mistyped name, may take. Its
tables are those of MLflow 3; tests hold both ways of reading to the same answers.

The client's filter language has two kinds of quotes and no escape, and `LIKE` with its wild cards,
so a clause may fit too much: what comes back is looked at again.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.tracking.query.conditions import RunFilter
from rlexp.tracking.query.record import PARENT_TAG, Record
from rlexp.tracking.store.read_only import all_pages, query_sqlite, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_CHUNK = 200  # runs
_EXPERIMENTS = "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'"
_RUNS = """
    SELECT run_uuid, name, experiment_id, status, start_time, end_time FROM runs
    WHERE lifecycle_stage = 'active' AND experiment_id IN (SELECT value FROM json_each(?1))
    AND (?2 IS NULL OR run_uuid IN (SELECT value FROM json_each(?2)))
    ORDER BY start_time DESC, run_uuid LIMIT ?3 OFFSET ?4
"""
_NAMED = "SELECT run_uuid FROM runs WHERE name IN (SELECT value FROM json_each(?))"
_WITH_PARAM = """
    SELECT run_uuid FROM params WHERE key = ? AND value IN (SELECT value FROM json_each(?))
"""
_WITH_TAG = """
    SELECT run_uuid FROM tags WHERE key = ? AND value IN (SELECT value FROM json_each(?))
"""
_PARAMS = """
    SELECT run_uuid, key, value FROM params WHERE run_uuid IN (SELECT value FROM json_each(?))
"""
_TAGS = """
    SELECT run_uuid, key, value FROM tags WHERE run_uuid IN (SELECT value FROM json_each(?))
"""
_METRICS = """
    SELECT run_uuid, key, CASE is_nan WHEN 0 THEN value END FROM latest_metrics
    WHERE run_uuid IN (SELECT value FROM json_each(?))
"""
_POINTS = """
    SELECT key, step, CASE is_nan WHEN 0 THEN value END FROM metrics
    WHERE run_uuid = ? AND key IN (SELECT value FROM json_each(?)) ORDER BY timestamp, value
"""
_PAGE = 1000
_ATTRIBUTES = {"run_id": "run_id", "name": "run_name", "status": "status"}


class SQLiteSource:
    """The runs in a file, opened for reading only; raises `UserError` where it does not answer."""

    def __init__(self, uri: str, path: Path) -> None:
        self._query = partial(query_sqlite, uri, path)

    def experiments(self) -> dict[str, str]:
        """Return the ids of the active experiments, and their names."""
        return {str(number): name for number, name in self._query(_EXPERIMENTS)}

    def search(
        self, experiments: Sequence[str], conditions: Sequence[RunFilter], limit: int | None = None
    ) -> Iterator[Record]:
        """Yield active runs of which all conditions are true, newest first, at most `limit`."""
        runs = self._newest_first(experiments, self._candidates(conditions))
        matching = (run for run in runs if all(condition.fits(run) for condition in conditions))
        return islice(matching, limit)

    def points(self, run_id: str, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
        """Return values by step of the metrics that were logged; of a step's values the latest."""
        values: dict[str, dict[int, float]] = {}
        for name, step, value in self._query(_POINTS, run_id, json.dumps(list(metrics))):
            values.setdefault(name, {})[step] = _nan_for_null(value)
        return values

    def _candidates(self, conditions: Sequence[RunFilter]) -> set[str] | None:
        """Return the ids of the runs that may fit; None where no condition can tell cheaply."""
        candidates: set[str] | None = None
        for condition in conditions:
            values = json.dumps(condition.values)
            match condition.place, condition.key:
                case _ if condition.is_prefix or not condition.values:
                    continue
                case ["attribute", "run_id"]:
                    ids = set(condition.values)
                case ["attribute", "name"]:
                    ids = self._ids(_NAMED, values)
                case [("param" | "tag") as place, key]:
                    ids = self._ids(_WITH_PARAM if place == "param" else _WITH_TAG, key, values)
                case _:
                    continue
            candidates = ids if candidates is None else candidates & ids
        return candidates

    def _ids(self, query: str, *values: str) -> set[str]:
        return {run_id for (run_id,) in self._query(query, *values)}

    def _newest_first(
        self, experiments: Sequence[str], candidates: set[str] | None
    ) -> Iterator[Record]:
        experiment_ids = json.dumps([int(number) for number in experiments])
        run_ids = None if candidates is None else json.dumps(sorted(candidates))
        offset = 0
        while rows := self._query(_RUNS, experiment_ids, run_ids, _CHUNK, offset):
            ids = json.dumps([row[0] for row in rows])
            params, tags = self._by_run(_PARAMS, ids), self._by_run(_TAGS, ids)
            metrics = self._by_run(_METRICS, ids)
            for run_id, name, experiment, status, started, ended in rows:
                run_tags = tags[run_id]
                yield Record(
                    run_id=run_id,
                    name=name or run_tags.get("mlflow.runName", ""),
                    experiment_id=str(experiment),
                    status=status,
                    started=started or 0,
                    ended=ended or None,
                    folder=Path(run_tags["folder"]) if "folder" in run_tags else None,
                    parent=run_tags.get(PARENT_TAG),
                    params=params[run_id],
                    metrics={key: _nan_for_null(value) for key, value in metrics[run_id].items()},
                    tags=run_tags,
                )
            offset += len(rows)

    def _by_run(self, query: str, ids: str) -> defaultdict[str, dict[str, Any]]:
        values: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for run_id, key, value in self._query(query, ids):
            values[run_id][key] = value
        return values


def _nan_for_null(value: float | None) -> float:
    return math.nan if value is None else value


class ClientSource:
    """See `SQLiteSource`. `uri` is the store's address, for messages."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._client = client
        self._uri = uri

    def experiments(self) -> dict[str, str]:
        """See `SQLiteSource`."""
        with store_errors(self._uri):
            experiments = list(all_pages(self._client.search_experiments))
        return {experiment.experiment_id: experiment.name for experiment in experiments}

    def search(
        self, experiments: Sequence[str], conditions: Sequence[RunFilter], limit: int | None = None
    ) -> Iterator[Record]:
        """See `SQLiteSource`."""
        # MLflow has no "or": a search for each combination of what the conditions allow.
        alternatives = itertools.product(*(_clauses(condition) for condition in conditions))
        size = min(limit or _PAGE, _PAGE)
        searches = [self._pages(experiments, " AND ".join(all_of), size) for all_of in alternatives]
        merged = heapq.merge(*searches, key=lambda record: -record.started)
        matching = (run for run in merged if all(condition.fits(run) for condition in conditions))
        return itertools.islice(matching, limit)

    def points(self, run_id: str, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
        """See `SQLiteSource`."""
        values = {}
        for metric in metrics:
            with store_errors(self._uri):
                points = self._client.get_metric_history(run_id, metric)
            in_time = sorted(points, key=lambda point: point.timestamp)
            if in_time:
                values[metric] = {point.step: point.value for point in in_time}
        return values

    def _pages(self, experiments: Sequence[str], clause: str, size: int) -> Iterator[Record]:
        order = ["attributes.start_time DESC", "attributes.run_id"]
        search = partial(self._client.search_runs, filter_string=clause, order_by=order)
        with store_errors(self._uri):
            yield from map(_record, all_pages(search, list(experiments), max_results=size))


def _clauses(condition: RunFilter) -> list[str]:
    """Return clauses of which one is true of every run that fits."""
    key = f"{condition.place}s.`{condition.key}`"
    if condition.place == "attribute":
        key = f"attributes.{_ATTRIBUTES[condition.key]}"
    if not condition.values:
        return [f"{key} IS NULL"]
    return [_clause(key, value, condition.is_prefix) for value in condition.values]


def _clause(key: str, value: str, is_prefix: bool) -> str:
    if is_prefix:
        return f"{key} LIKE '{value.replace(chr(39), '_')}%'"
    if "'" not in value:
        return f"{key} = '{value}'"
    if '"' not in value:
        return f'{key} = "{value}"'
    return f"{key} LIKE '{value.replace(chr(39), '_')}'"


def _record(run: Run) -> Record:
    tags = run.data.tags
    return Record(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        started=run.info.start_time or 0,
        ended=run.info.end_time or None,
        folder=Path(tags["folder"]) if "folder" in tags else None,
        parent=tags.get(PARENT_TAG),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=tags,
    )
