"""From the spool to MLflow, in order.

What has been sent is remembered after each step, and every step may safely be taken twice: a
metric's point is identified by the time that the spool gave it, runs and models are looked for
before they are made, artifacts are overwritten. So a process that dies between MLflow's answer and
its own note, or another process that goes on later from the two files, doubles nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.tracking.redaction import redacted
from rlexp.tracking.spool import SENT, SPOOL, Sent, read_events
from rlexp.tracking.store import Store, connect, prepare_environment

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

Event = dict[str, Any]

_METRICS_A_CALL = 1000
_LONGEST_TAG = 5000  # MLflow cuts at 8000
_TABLES_IN_TAG = 60  # the UI's list of tables is a tag, and must fit into one

_DIGEST_CHARACTERS = 8  # as long as MLflow's own: longer ones are cut off in its tables

_SPOOL_TAG = "rlexp.spool"
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")
"""Answers that will be the same the next time."""

log = logging.getLogger(__name__)


class Shipper:
    """Sends the spool in `folder` to the experiment of a resolved tracking address."""

    def __init__(self, folder: Path, uri: str, experiment: str) -> None:
        prepare_environment()
        self._folder = folder
        self._uri = uri
        self._experiment = experiment
        self._store: Store | None = None
        self.on_run: Callable[[], None] = lambda: None
        """Called when the MLflow run is known."""
        self._sent = Sent.load(folder / SENT)
        self._send_one: dict[str, Callable[[Event], None]] = {
            "start": self._start,
            "params": self._params,
            "tags": self._tags,
            "note": self._note,
            "table": self._table,
            "artifact": self._artifact,
            "dataset": self._dataset,
            "checkpoint": self._checkpoint,
            "end": self._end,
        }

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until it exists."""
        return self._sent.run_id

    @property
    def experiment_id(self) -> str | None:
        """The MLflow experiment; None until the store has been opened."""
        return self._store.experiment_id if self._store else None

    def pending(self) -> int:
        """How many events of the spool MLflow does not have yet."""
        return sum(1 for _ in read_events(self._folder / SPOOL, self._sent.offset))

    def ship(self) -> None:
        """Send all that the spool holds by now. Raises what MLflow raises; call again to go on."""
        for batch, end in _batches(read_events(self._folder / SPOOL, self._sent.offset)):
            self._send(batch)
            self._remember(offset=end)

    def _remember(self, **changes: Any) -> None:
        self._sent = replace(self._sent, **changes)
        self._sent.save(self._folder / SENT)

    def _send(self, batch: list[Event]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            if batch[0]["kind"] == "metrics":
                self._metrics(batch)
            elif send := self._send_one.get(batch[0]["kind"]):
                send(batch[0])
        except (MlflowException, FileNotFoundError) as error:
            refused = getattr(error, "error_code", None) in _REFUSALS
            gone = isinstance(error, FileNotFoundError) and batch[0]["kind"] == "artifact"
            if batch[0]["kind"] == "start" or not (refused or gone):
                raise
            if len(batch) > 1:
                for event in batch:
                    self._send([event])
            else:
                log.warning("MLflow does not take %s: %s", _named(batch[0]), redacted(str(error)))
                self._remember(refused=self._sent.refused + 1)

    @property
    def _opened(self) -> Store:
        if self._store is None:
            self._store = connect(self._uri, self._experiment)
        return self._store

    @property
    def _run(self) -> str:
        if self._sent.run_id is None:
            raise RuntimeError(f"{self._folder / SPOOL} does not begin with a start event")
        return self._sent.run_id

    def _start(self, event: Event) -> None:
        if self._sent.run_id is not None:
            self._opened.client.update_run(self._sent.run_id, status="RUNNING")
        else:
            self._remember(run_id=self._find_or_create_run(event))
        self.on_run()

    def _find_or_create_run(self, event: Event) -> str:
        client, experiment = self._opened.client, self._opened.experiment_id
        same = f"tags.`{_SPOOL_TAG}` = '{event['id']}'"
        found = client.search_runs([experiment], filter_string=same, max_results=1)
        if found:
            return found[0].info.run_id
        tags = {**_tag_values(event["tags"]), _SPOOL_TAG: event["id"]}
        if event["parent"]:
            tags["mlflow.parentRunId"] = event["parent"]
        run = client.create_run(
            experiment, start_time=event["t"], tags=tags, run_name=event["name"]
        )
        return run.info.run_id

    def _metrics(self, batch: list[Event]) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(name, float(value), event["t"], event["step"])
            for event in batch
            for name, value in event["metrics"].items()
        ]
        self._opened.client.log_batch(self._run, metrics=points, synchronous=True)

    def _params(self, event: Event) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in event["params"].items()]
        self._opened.client.log_batch(self._run, params=params, synchronous=True)

    def _tags(self, event: Event) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in _tag_values(event["tags"]).items()]
        self._opened.client.log_batch(self._run, tags=tags, synchronous=True)

    def _note(self, event: Event) -> None:
        self._tags({"tags": {"mlflow.note.content": event["text"]}})

    def _table(self, event: Event) -> None:
        """What `log_table` does, except that it would append to a table that is there already.

        The newest goes first, as the comparison of runs begins with the first in the list.
        """
        client, tag = self._opened.client, "mlflow.loggedArtifacts"
        table = {"columns": event["columns"], "data": event["data"]}
        client.log_dict(self._run, table, event["file"])
        shown = json.loads(client.get_run(self._run).data.tags.get(tag, "[]"))
        entry = {"path": event["file"], "type": "table"}
        if entry not in shown:
            client.set_tag(self._run, tag, json.dumps([entry, *shown][:_TABLES_IN_TAG]))

    def _artifact(self, event: Event) -> None:
        path = self._folder / event["path"]
        if path.is_dir():
            self._opened.client.log_artifacts(self._run, str(path), event["folder"])
        elif path.exists():
            self._opened.client.log_artifact(self._run, str(path), event["folder"])
        else:
            raise FileNotFoundError(f"{path} is no longer there")

    def _dataset(self, event: Event) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = {"rows": event["rows"], "kind": event["of"], "digest": event["digest"]}
        dataset = Dataset(
            name=event["name"],
            digest=event["digest"][:_DIGEST_CHARACTERS],
            source_type="local",
            source=json.dumps({"uri": event["source"]}),
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self._opened.client.log_inputs(self._run, [DatasetInput(dataset, tags)])

    def _checkpoint(self, event: Event) -> None:
        from mlflow.entities import LoggedModelOutput, Metric

        client, step = self._opened.client, event["step"]
        model = self._model(event)
        outputs = client.get_run(self._run).outputs
        known = {output.model_id for output in outputs.model_outputs} if outputs else set()
        if model.model_id not in known:
            client.log_outputs(self._run, [LoggedModelOutput(model.model_id, step)])
        points = [
            Metric(name, float(value), time, step, model_id=model.model_id, run_id=self._run)
            for name, (value, time) in event["metrics"].items()
        ]
        client.log_batch(self._run, metrics=points, synchronous=True)

    def _model(self, event: Event) -> LoggedModel:
        """The entry of the Models table: weights stay where they are, only their place is told."""
        client, experiment = self._opened.client, self._opened.experiment_id
        same = f"source_run_id = '{self._run}' AND name = '{event['name']}'"
        found = client.search_logged_models([experiment], filter_string=same, max_results=1)
        if found:
            model = found[0]
        else:
            model = client.create_logged_model(
                experiment,
                name=event["name"],
                source_run_id=self._run,
                tags={"mlflow.model.isExternal": "true"},
                params={"path": event["path"], "step": str(event["step"])},
                model_type="checkpoint",
            )
        return client.finalize_logged_model(model.model_id, "READY")

    def _end(self, event: Event) -> None:
        self._opened.client.set_terminated(self._run, event["status"], event["t"])


def _batches(events: Iterable[tuple[Event, int]]) -> Iterator[tuple[list[Event], int]]:
    """Neighbouring metrics together, as many as one call takes; everything else by itself."""
    batch: list[Event] = []
    size = end = 0
    for event, offset in events:
        points = len(event["metrics"]) if event["kind"] == "metrics" else _METRICS_A_CALL
        if batch and size + points > _METRICS_A_CALL:
            yield batch, end
            batch, size = [], 0
        batch.append(event)
        size, end = size + points, offset
    if batch:
        yield batch, end


def _tag_values(tags: dict[str, Any]) -> dict[str, str]:
    return {key: str(value)[:_LONGEST_TAG] for key, value in tags.items()}


def _named(event: Event) -> str:
    subject = event.get("file") or event.get("path") or event.get("name") or event.get("step")
    return f"the {event['kind']} {subject}" if subject is not None else f"the {event['kind']}"
