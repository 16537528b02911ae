"""Short runs that no store has heard of yet, and what a store then has of them."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from tracking_spec import tracking_spec

from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking import Tracker

FIVE = [(step, step / 8) for step in range(5)]
"""What a run of `told` logs as train/loss."""


def told(folder: Path, steps: int = 5) -> Path:
    """The folder of a run that no store has heard of yet."""
    with Tracker.open(tracking_spec(None), folder) as tracker:
        for step in range(steps):
            tracker.log({"train/loss": step / 8}, step)
        tracker.artifact(folder / SPOOL)
        tracker.checkpoint(4, folder / "checkpoints" / "step-000004", {"eval/reward": 0.5})
    return folder


def only_run(uri: str, experiment: str) -> Run:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found
    (run,) = client.search_runs([found.experiment_id])
    return run


def losses(uri: str, run: Run) -> list[tuple[int, float]]:
    points = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "train/loss")
    return [(point.step, point.value) for point in points]
