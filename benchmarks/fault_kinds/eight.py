"""Eight runs at once on a fresh data base."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from tracking_servers import postgresql

from fault_kinds.losses import Losses
from fault_kinds.training import EXPERIMENT, ROOT
from rlexp.tracking.spool.shipper import Shipper

RUNS = 8
STEPS = 300

LOGS = f"""
import sys
from pathlib import Path
from tracking_spec import tracking_spec
from rlexp.tracking import Tracker
uri, folder = sys.argv[1:]
with Tracker.open(tracking_spec(uri), Path(folder)) as tracker:
    for step in range({STEPS}):
        tracker.log({{"train/loss": step / 8, "rollout/reward": -step}}, step)
"""


def run(scratch: Path, rng: random.Random, count: int) -> Losses:
    """The same on a file, and on a PostgreSQL of its own."""
    losses = Losses()
    _eight(f"sqlite:///{scratch / 'mlflow.db'}", scratch / "sqlite", losses)
    with postgresql(scratch) as fresh:
        _eight(fresh("eight"), scratch / "postgresql-runs", losses)
    losses.remarks.append(f"{RUNS} runs of {STEPS} steps on SQLite and on PostgreSQL")
    return losses


def _eight(uri: str, folder: Path, losses: Losses) -> None:
    folder.mkdir()
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    runs = [folder / f"run{number}" for number in range(RUNS)]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", LOGS, uri, str(each)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.DEVNULL,
        )
        for each in runs
    ]
    losses.add(failed_processes=sum(job.wait() != 0 for job in jobs))
    for each in runs:
        Shipper(each, uri, EXPERIMENT).ship()
        losses.against_spool(uri, EXPERIMENT, each)
