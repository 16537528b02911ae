"""What each kind of event becomes in MLflow.

Every delivery may safely be made twice: a metric's point is identified by the time that the spool
gave it, runs and models are looked for before they are made, artifacts are overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.runtime.files import write_atomically
from rlexp.runtime.run_folder import PARENT
from rlexp.tracking.provenance.environment import HOST_TAG
from rlexp.tracking.spool.spool import Event
from rlexp.tracking.store.connection import Store, upload_timeout

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

SPOOL_TAG = "rlexp.spool"
"""Tag of the MLflow run: the `id` of the spool's start event."""

_OF_AN_ATTEMPT = ("state", "error")
"""Tags that say how a run ended, and no longer hold when it goes on."""
_PLACE = (HOST_TAG, "folder")
"""Tags that say where a run is alive; one that goes on may have moved."""
_WEIGHTS = "weights"
"""Tag of a logged model whose files have been removed."""

_LONGEST_TAG = 5000  # MLflow cuts at 8000
_TABLES_IN_TAG = 60  # the UI's list of tables is a tag, and must fit into one
_DIGEST_CHARACTERS = 8  # as long as MLflow's own: longer ones are cut off in its tables


class MlflowWriter:
    """Writes events to one run of an open store.

    Args:
        store: where to.
        folder: the run's folder; paths of artifacts are relative to it.
        run_id: the MLflow run; None until a start event has been delivered.
        check_existing: whether MLflow may have points of steps that are told again, at another
            time, which would make them other points.
    """

    def __init__(
        self, store: Store, folder: Path, run_id: str | None, *, check_existing: bool = False
    ) -> None:
        self.run_id = run_id
        self.check_existing = check_existing
        self._times: dict[tuple[str, int], int] | None = None
        self._store = store
        self._client = store.client
        self._folder = folder
        self._deliver: dict[str, Callable[[Event], None]] = {
            "start": self._start,
            "params": self._params,
            "tags": self._tags,
            "note": lambda event: self._tags({"tags": {"mlflow.note.content": event["text"]}}),
            "table": self._table,
            "artifact": self._artifact,
            "dataset": self._dataset,
            "inputs": self._inputs,
            "checkpoint": self._checkpoint,
            "removed": self._removed,
            "end": self._end,
        }

    def deliver(self, batch: list[Event]) -> None:
        """Write one event, or neighbouring metrics; what MLflow has no place for is passed over.

        Raises `FileNotFoundError` for an artifact that is gone, and whatever MLflow and the store
        raise.
        """
        if batch[0]["kind"] == "metrics":
            self._metrics(batch)
        elif deliver := self._deliver.get(batch[0]["kind"]):
            deliver(batch[0])

    def probe(self) -> None:
        """Return where MLflow answers and knows the run. Raises what MLflow raises."""
        self._client.get_run(self._run)

    @property
    def _run(self) -> str:
        if self.run_id is None:
            raise RuntimeError(f"the spool in {self._folder} does not begin with a start event")
        return self.run_id

    def _start(self, event: Event) -> None:
        created = False
        if self.run_id is None:
            self.run_id, created = self._find_or_create_run(event)
            # Somebody has sent to it, and what they noted of that is gone.
            self.check_existing |= not created
        if event.get("sweep"):
            write_parent_run(self._folder, self.run_id)
        if not created:
            self._reopen_run(_tag_values(event["tags"]))

    def _reopen_run(self, tags: dict[str, str]) -> None:
        """Show a run as running again, where it runs now."""
        self._client.update_run(self._run, status="RUNNING")
        shown = self._client.get_run(self._run).data.tags
        for name in _OF_AN_ATTEMPT:
            if name in shown:
                self._client.delete_tag(self._run, name)
        for name in _PLACE:
            if name in tags and tags[name] != shown.get(name):
                self._client.set_tag(self._run, name, tags[name])

    def _find_or_create_run(self, event: Event) -> tuple[str, bool]:
        """Return the run that this start event belongs to, and whether it is new."""
        experiment = self._store.experiment_id
        same = f"tags.`{SPOOL_TAG}` = '{event['id']}'"
        runs = self._client.search_runs([experiment], filter_string=same, max_results=1)
        if runs:
            return runs[0].info.run_id, False
        tags = {**_tag_values(event["tags"]), SPOOL_TAG: event["id"]}
        # A sweep whose store did not answer may have come to its run after this one began.
        if parent := event["parent"] or parent_run(self._folder.parent):
            tags["mlflow.parentRunId"] = parent
        run = self._client.create_run(experiment, event["t"], tags, event["name"])
        return run.info.run_id, True

    def _metrics(self, batch: list[Event]) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(name, float(value), event["t"], event["step"])
            for event in batch
            for name, value in event["metrics"].items()
            if (name, event["step"]) not in self._logged_times
        ]
        self._client.log_batch(self._run, metrics=points, synchronous=True)

    def _params(self, event: Event) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in event["params"].items()]
        self._client.log_batch(self._run, params=params, synchronous=True)

    def _tags(self, event: Event) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in _tag_values(event["tags"]).items()]
        self._client.log_batch(self._run, tags=tags, synchronous=True)

    def _table(self, event: Event) -> None:
        """Do what `log_table` does, except that it would append to a table that is there already.

        The newest goes first, as the comparison of runs begins with the first in the list.
        """
        tag = "mlflow.loggedArtifacts"
        table = {"columns": event["columns"], "data": event["data"]}
        self._client.log_dict(self._run, table, event["file"])
        listed = json.loads(self._client.get_run(self._run).data.tags.get(tag, "[]"))
        entry = {"path": event["file"], "type": "table"}
        if entry not in listed:
            self._client.set_tag(self._run, tag, json.dumps([entry, *listed][:_TABLES_IN_TAG]))

    def _artifact(self, event: Event) -> None:
        path = self._folder / event["path"]
        if path.is_dir():
            sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
            with upload_timeout(max(sizes, default=0)):
                self._client.log_artifacts(self._run, str(path), event["folder"])
        elif path.exists():
            with upload_timeout(path.stat().st_size):
                self._client.log_artifact(self._run, str(path), event["folder"])
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
        tags = [InputTag("mlflow.data.context", event.get("context", "training"))]
        self._client.log_inputs(self._run, [DatasetInput(dataset, tags)])

    def _inputs(self, event: Event) -> None:
        """Log the models that earlier runs left as inputs."""
        from mlflow.entities import LoggedModelInput

        inputs = self._client.get_run(self._run).inputs
        known = {model.model_id for model in inputs.model_inputs} if inputs else set()
        for run in set(event["runs"].values()):
            of_run = f"source_run_id = '{run}'"
            models = self._client.search_logged_models(
                [self._store.experiment_id], filter_string=of_run
            )
            newest = max(models, key=lambda model: int(model.params.get("step", 0)), default=None)
            if newest and newest.model_id not in known:
                self._client.log_inputs(self._run, models=[LoggedModelInput(newest.model_id)])

    def _checkpoint(self, event: Event) -> None:
        from mlflow.entities import LoggedModelOutput, Metric

        model, step = self._find_or_create_model(event), event["step"]
        # the entry among the run's models
        outputs = self._client.get_run(self._run).outputs
        known = {output.model_id for output in outputs.model_outputs} if outputs else set()
        if model.model_id not in known:
            self._client.log_outputs(self._run, [LoggedModelOutput(model.model_id, step)])
        # its metrics: as points of the run's own series, at the time that they have there
        place: dict[str, Any] = {"model_id": model.model_id, "run_id": self._run}
        times = self._logged_times
        points = [
            Metric(name, float(value), times.get((name, step), int(time)), step, **place)
            for name, (value, time) in event["metrics"].items()
        ]
        self._client.log_batch(self._run, metrics=points, synchronous=True)

    @property
    def _logged_times(self) -> dict[tuple[str, int], int]:
        """When the points that MLflow had before were logged, by name and step."""
        if self._times is None:
            self._times = {}
            if self.check_existing:
                for name in self._client.get_run(self._run).data.metrics:
                    for point in self._client.get_metric_history(self._run, name):
                        self._times[name, point.step] = point.timestamp
        return self._times

    def _find_or_create_model(self, event: Event) -> LoggedModel:
        """Return the entry of the Models table, which only tells where the weights stay."""
        models = self._search_models(f"name = '{event['name']}'")
        if models:
            model = models[0]
            if _WEIGHTS in model.tags:
                self._client.delete_logged_model_tag(model.model_id, _WEIGHTS)
        else:
            model = self._client.create_logged_model(
                self._store.experiment_id,
                name=event["name"],
                source_run_id=self._run,
                tags={"mlflow.model.isExternal": "true"},
                params={"path": event["path"], "step": str(event["step"])},
                model_type="checkpoint",
            )
        return self._client.finalize_logged_model(model.model_id, "READY")

    def _removed(self, event: Event) -> None:
        # By name: the folder may have been moved since the checkpoint was logged.
        for model in self._search_models(f"name LIKE '{Path(event['path']).name}-%'"):
            self._client.set_logged_model_tags(model.model_id, {_WEIGHTS: "removed"})

    def _search_models(self, clause: str) -> list[LoggedModel]:
        of_run = f"source_run_id = '{self._run}' AND {clause}"
        return self._client.search_logged_models([self._store.experiment_id], filter_string=of_run)

    def _end(self, event: Event) -> None:
        """End the run, and delete its twins.

        Requests that were given up and that a server carried out all the same have made them. They
        are empty, since everything else went to the one that was found or made next.
        """
        self._client.set_terminated(self._run, event["status"], event["t"])
        tags = self._client.get_run(self._run).data.tags
        if SPOOL_TAG in tags:
            same = f"tags.`{SPOOL_TAG}` = '{tags[SPOOL_TAG]}'"
            for twin in self._client.search_runs([self._store.experiment_id], filter_string=same):
                if twin.info.run_id != self._run and not (twin.data.metrics or twin.data.params):
                    self._client.delete_run(twin.info.run_id)
        for model in self._search_models("name != ''"):
            if model.status == "PENDING":
                self._client.delete_logged_model(model.model_id)


def parent_run(sweep_folder: Path) -> str | None:
    """Return a sweep's MLflow run, as `parent.json` in its folder has it for its trials.

    None when it has none, or when MLflow has not answered yet.
    """
    path = sweep_folder / PARENT
    return json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else None


def write_parent_run(sweep_folder: Path, run_id: str) -> None:
    """Write the sweep's MLflow run to `parent.json`."""
    write_atomically(sweep_folder / PARENT, json.dumps({"run_id": run_id}))


def _tag_values(tags: dict[str, Any]) -> dict[str, str]:
    return {key: str(value)[:_LONGEST_TAG] for key, value in tags.items()}
