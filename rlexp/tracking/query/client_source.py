"""Records read through MLflow's client, from whatever store it knows.

Its filter language has two kinds of quotes and no escape, and `LIKE` with its wild cards, so a
clause may fit too much: what comes back is looked at again.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.tracking.query.conditions import RunFilter
from rlexp.tracking.query.record import PARENT_TAG, Record
from rlexp.tracking.store.read_only import all_pages, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000
_ATTRIBUTES = {"run_id": "run_id", "name": "run_name", "status": "status"}


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
