"""A tracking store with runs in it, put there by MLflow's own client, for several test files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from rlexp.tracking.store.connection import connect, prepare_environment

BEGAN = 1_700_000_000_000
"""When the first run began, in milliseconds since 1970."""


@dataclass
class StoredRuns:
    """Adds runs to a store, each a minute younger than the one before."""

    uri: str
    experiment: str = "rlexp"
    count: int = 0

    def __post_init__(self) -> None:
        prepare_environment()
        self.experiment_id = connect(self.uri, self.experiment).experiment_id
        self.client = MlflowClient(tracking_uri=self.uri)

    def add(
        self,
        name: str,
        *,
        algo: str = "grpo",
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        folder: Path | None = None,
        parent: str | None = None,
        status: str = "FINISHED",
        rewards: tuple[tuple[int, float], ...] = ((0, 0.1), (20, 0.9)),
        samples: dict[int, list[dict[str, Any]]] | None = None,
    ) -> str:
        """One run as rlexp tracks it; its id."""
        began = BEGAN + 60_000 * self.count
        self.count += 1
        all_tags = dict(tags or {})
        if folder:
            all_tags["folder"] = str(folder)
        if parent:
            all_tags["mlflow.parentRunId"] = parent
        run_id = self.client.create_run(
            self.experiment_id, start_time=began, run_name=name, tags=all_tags
        ).info.run_id
        known = {"algo.name": algo, "model.name": "tiny", "data.name": "reviews", **(params or {})}
        self.client.log_batch(
            run_id,
            params=[Param(key, value) for key, value in known.items()],
            metrics=[Metric("eval/reward", value, began + step, step) for step, value in rewards],
            tags=[RunTag("rlexp.spool", run_id[::-1])],
        )
        for step, rows in (samples or {}).items():
            data = [list(row.values()) for row in rows]
            table = {"columns": list(rows[0]), "data": data}
            self.client.log_dict(
                run_id, json.loads(json.dumps(table)), f"samples/step-{step:06d}.json"
            )
        if status == "RUNNING":
            return run_id
        self.client.set_terminated(run_id, status, began + 30_000)
        return run_id

    def add_sweep(self, name: str, **tags: str) -> str:
        """The run that stands for a sweep."""
        return self.add(name, rewards=(), params={}, tags={"sweep.overrides": "seed=1,2", **tags})
