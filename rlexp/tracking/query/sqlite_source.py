"""Records read straight from MLflow's SQLite file.

MLflow's client takes two to three seconds to be imported and to open a file, and as long again to
search 500 runs. This answers in tenths: what a list, or the answer to a mistyped name, may take.
The tables are those of MLflow 3; tests hold both ways of reading to the same answers.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rlexp.tracking.query.conditions import RunFilter
from rlexp.tracking.query.record import PARENT_TAG, Record
from rlexp.tracking.store.read_only import unreachable_error

_TIMEOUT = 5.0  # seconds
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


class SQLiteSource:
    """The runs in a file, opened for reading only; raises `UserError` where it does not answer."""

    def __init__(self, uri: str, path: Path) -> None:
        self._uri = uri
        read_only = f"{path.as_uri()}?mode=ro"
        self._connection = sqlite3.connect(read_only, uri=True, timeout=_TIMEOUT)

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

    def _query(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise unreachable_error(self._uri, error) from error


def _nan_for_null(value: float | None) -> float:
    return math.nan if value is None else value
