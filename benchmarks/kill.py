"""What a sweep loses to SIGKILL: python benchmarks/kill.py [--count 20] [--seed 0]

Sweeps of real trials, two at once, with pruning and MLflow, are killed at random moments: the
sweeper, one of its trials, or all of them. The same command follows each time, until the sweep is
done. The last line should hold nothing but zeros:

- `lost`: trials that had come to a result and have it no more, or that failed; results too few.
- `repeated`: finished trials that were run again, parameters tried twice, results too many.
- `stuck`: trials or MLflow runs that are not over when the sweep is.
- `overwritten`: folders in which another run stands than before.

The moments come from `--seed`; what the machine makes of them is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from kill_pipeline import kill_pipelines

TRIALS = 6
KILLS_A_SWEEP = 5
WITHIN = 20.0
"""Seconds, from a start or from the kill before, in which the next kill falls."""
VICTIMS = ("sweeper", "trial", "both")
WORK = (
    "sweep=dpo_basics",
    f"sweep.n_trials={TRIALS}",
    "sweep.n_jobs=2",
    "sweep.heartbeat=1",
    "sweep.max_retries=100",
    "sweep.pruner.n_startup_trials=2",
    "train.max_steps=12",
    "train.batch_size=16",
    "train.checkpoint_every=2",
    "algo.pairs.prompts=32",
    "algo.loss_type=[sigmoid]",
    "eval.every=4",
    "eval.prompts=8",
    "eval.texts=8",
)


class KilledSweep:
    """A sweep in a folder of its own, and what had been seen of it before each kill."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.place = folder / "multirun" / "dpo_basics"
        self.finished: dict[int, tuple[str, Any]] = {}
        self.runs: dict[int, str] = {}
        self.attempts: dict[int, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def go_on(self) -> None:
        """The same command, unless it runs."""
        if self._process is None or self._process.poll() is not None:
            with (self.folder / "output.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "rlexp", "-m", *WORK],
                    cwd=self.folder,
                    env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def is_over_within(self, seconds: float | None) -> bool:
        """Wait so long at most; whether the sweep has ended.

        Raises:
            RuntimeError: it failed, with what it printed.
        """
        assert self._process
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if status:
            raise RuntimeError((self.folder / "output.log").read_text(errors="replace")[-3000:])
        return True

    def kill(self, victim: str, rng: random.Random) -> bool:
        """SIGKILL; whether there was anybody to be killed."""
        assert self._process
        trials = self._trial_processes()
        victims = {"sweeper": [], "both": trials, "trial": rng.sample(trials, min(1, len(trials)))}
        pids = victims[victim]
        if victim != "trial":
            pids = [self._process.pid, *pids]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if victim != "trial":
            self._process.wait()
        return bool(pids)

    def _trial_processes(self) -> list[int]:
        from rlexp.sweep.ownership import OWNER, Owner

        assert self._process
        owners = [
            Owner(**trial.user_attrs[OWNER])
            for trial in self.trials()
            if not trial.state.is_finished() and trial.user_attrs.get(OWNER)
        ]
        return [each.pid for each in owners if each.is_alive() and each.pid != self._process.pid]

    def trials(self) -> list[Any]:
        """Of the study, if it has been made."""
        from rlexp.spec.errors import UserError
        from rlexp.sweep.study import read_study

        try:
            return read_study(str(self.place)).trials
        except UserError:
            return []

    def look(self) -> None:
        """Remember what there is."""
        for trial in self.trials():
            starts = self._starts(trial.number)
            if starts:
                self.runs.setdefault(trial.number, starts[0])
            if trial.state.name in ("COMPLETE", "PRUNED") and trial.number not in self.finished:
                self.finished[trial.number] = (trial.state.name, trial.values)
                self.attempts[trial.number] = len(starts)

    def _starts(self, number: int) -> list[str]:
        """The MLflow run of each attempt at a trial."""
        from rlexp.runtime.run_folder import SPOOL
        from rlexp.tracking.spool.spool import read_events

        spool = self.place / str(number) / SPOOL
        events = (event for event, _ in read_events(spool)) if spool.is_file() else ()
        return [event["id"] for event in events if event["kind"] == "start"]

    def losses(self) -> Counter[str]:
        """What is not as it was, or not as it has to be at the end."""
        from rlexp.sweep.ownership import WITHDRAWN

        last = {trial.number: trial for trial in self.trials()}
        starts = {number: self._starts(number) for number in last}
        results = [each for each in last.values() if each.state.name in ("COMPLETE", "PRUNED")]
        failed = [
            each
            for each in last.values()
            if each.state.name == "FAIL" and WITHDRAWN not in each.user_attrs
        ]
        gone = [
            number
            for number, result in self.finished.items()
            if number not in last or (last[number].state.name, last[number].values) != result
        ]
        again = [number for number, count in self.attempts.items() if len(starts[number]) > count]
        params = {json.dumps(each.params) for each in last.values() if each.params}
        twice = len([each for each in last.values() if each.params]) - len(params)
        others = [number for number, first in self.runs.items() if set(starts[number]) != {first}]
        return Counter(
            lost=len(gone) + len(failed) + max(0, TRIALS - len(results)),
            repeated=len(again) + twice + max(0, len(results) - TRIALS),
            stuck=sum(not each.state.is_finished() for each in last.values()) + self._running(),
            overwritten=len(others),
        )

    def _running(self) -> int:
        """MLflow runs that are not over."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{self.folder / 'mlflow.db'}")
        experiments = [each.experiment_id for each in client.search_experiments()]
        return len(client.search_runs(experiments, "attributes.status = 'RUNNING'"))


def killed(folder: Path, rng: random.Random, kills: int) -> tuple[KilledSweep, Counter[str]]:
    """Sweep, with at most so many kills; whom they hit."""
    sweep, hit = KilledSweep(folder), Counter[str]()
    sweep.go_on()
    while hit.total() < kills and not sweep.is_over_within(rng.uniform(0, WITHIN)):
        sweep.look()
        victim = rng.choice(VICTIMS)
        hit[victim] += sweep.kill(victim, rng)
        sweep.go_on()
    sweep.go_on()
    sweep.is_over_within(None)
    return sweep, hit


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pipeline", action="store_true", help="kill pipelines instead of sweeps")
    arguments = parser.parse_args()
    rng, hit, losses = random.Random(arguments.seed), Counter[str](), Counter[str]()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rlexp-kill-") as scratch:
        if arguments.pipeline:
            return report(kill_pipelines(Path(scratch), arguments.count, rng))
        for index in range(arguments.count):
            if hit.total() >= arguments.count:
                break
            kills = min(KILLS_A_SWEEP, arguments.count - hit.total())
            sweep, hits = killed(Path(scratch) / str(index), rng, kills)
            hit += hits
            found = sweep.losses()
            losses.update(found)
            print(f"sweep {index}: killed {dict(hits)}, {dict(found)}", flush=True)
    whom = ", ".join(f"{name} {hit[name]}" for name in VICTIMS)
    print(f"{hit.total()} kills ({whom}) in {time.monotonic() - began:.0f} s")
    return report(losses)


def report(losses: Counter[str]) -> int:
    """Print the last line; return the exit status."""
    names = ("lost", "repeated", "stuck", "overwritten")
    print(", ".join(f"{losses[name]} {name}" for name in names))
    return 1 if losses.total() else 0


if __name__ == "__main__":
    sys.exit(main())
