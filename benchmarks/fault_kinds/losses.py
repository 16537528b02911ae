"""What a run has lost: against its own spool, and against a run that was left in peace."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from rlexp.runtime.run_folder import SPOOL
from rlexp.tracking.spool.spool import read_events

OF_THE_MACHINE = ("perf/", "system/")
_SHOWN = 5
Points = dict[tuple[str, int], list[float]]
"""Values by metric and step."""


@dataclass
class Losses:
    """Counts of what went wrong, and remarks of which none is wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.counts.total()

    def __str__(self) -> str:
        parts = [f"{number} {what}" for what, number in self.counts.items()]
        return ", ".join([*self.remarks, *parts])

    def add(self, **found: int) -> None:
        """Count; a name's underscores are spaces, and a 0 is shown too."""
        for what, number in found.items():
            self.counts[what.replace("_", " ")] += number

    def against_peace(self, reference: Path, run: Path) -> None:
        """Compare a run's spool and weights with those of one that nothing happened to."""
        wanted, found = spooled(reference), spooled(run)
        wanted = {key: values for key, values in wanted.items() if is_reproducible(key)}
        found = {key: values for key, values in found.items() if is_reproducible(key)}
        missing, differing = wanted.keys() - found.keys(), _differing(wanted, found)
        self.add(
            points_missing=len(missing),
            points_too_many=len(found.keys() - wanted.keys()),
            points_doubled=sum(len(values) - 1 for values in found.values()),
            points_that_differ=len(differing),
            weights_that_differ=int(weights(reference) != weights(run)),
        )
        if wrong := sorted(missing | differing)[:_SHOWN]:
            self.remarks.append(f"{run.name} is wrong at {wrong}")

    def against_spool(self, uri: str, experiment: str, run: Path) -> None:
        """Compare what MLflow has of a run with the run's spool."""
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        runs = client.search_runs([found.experiment_id]) if found else []
        runs = [each for each in runs if each.data.tags.get("folder") == str(run)]
        stored: Points = defaultdict(list)
        for each in runs:
            for name in each.data.metrics:
                for point in client.get_metric_history(each.info.run_id, name):
                    stored[name, point.step].append(point.value)
        told = spooled(run)
        self.add(
            missing_in_MLflow=len(told.keys() - stored.keys()),
            doubled_in_MLflow=sum(
                len(values) - 1 for key, values in stored.items() if not key[0].startswith("system")
            ),
            runs_missing_in_MLflow=int(not runs),
            runs_doubled_in_MLflow=max(0, len(runs) - 1),
            runs_left_RUNNING=sum(each.info.status == "RUNNING" for each in runs),
        )


def spooled(run: Path) -> Points:
    """The points of a run's spool."""
    points: Points = defaultdict(list)
    for event, _ in read_events(run / SPOOL):
        if event["kind"] == "metrics":
            for name, value in event["metrics"].items():
                points[name, event["step"]].append(value)
    return points


def _differing(wanted: Points, found: Points) -> set[tuple[str, int]]:
    return {key for key in wanted.keys() & found.keys() if found[key][0] != wanted[key][0]}


def is_reproducible(key: tuple[str, int]) -> bool:
    return not key[0].startswith(OF_THE_MACHINE)


def weights(run: Path) -> str:
    """Digest of the final weights; nothing for a run without any."""
    files = sorted((run / "model").glob("*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
