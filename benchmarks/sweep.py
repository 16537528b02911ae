"""Sweeps beside those of Hydra's own Optuna plugin: python benchmarks/sweep.py [--only best …]

hydra-optuna-sweeper 1.3.0 wants an Optuna before 3. Both are installed into an environment of
their own, which finds everything else where this one has it, so that both sweepers run the same
trials on the same torch. They search the same space for the same objective with as many trials, in
turns, from one folder each. The learning rate is looked for over four orders of magnitude, as
somebody would who does not know the task.

- `best`: seconds from the command to a value that both of a pair have come to: the lower of their
  best; summed over the seeds, since a single search may be lucky. The plugin goes by Hydra's basic
  launcher and by joblib with two jobs, as they come; and by joblib with a core for each job, which
  its user must think of (`hardware.threads=1`): left alone both jobs take all cores. It cannot
  prune, so it does not pay for evaluations on the way either; ours stops trials by ASHA, from the
  fifth step.
- `idle`: the share of two slots in which no process had a trial to work at while there were some to
  begin: from the last word of one to the study until the next one is handed out. Trials differ in
  length by their batch size, and by being pruned.
- `overhead`: seconds of a trial that does nothing: asked for, born, composed, told and noticed;
  and what is left of them without those that Hydra's own sweeper takes for such a job.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

PEER = ("hydra-optuna-sweeper==1.3.0", "optuna==2.10.1", "hydra-joblib-launcher==1.2.0", "joblib")
PARTS = ("best", "idle", "overhead")
WORK = (
    "algo=grpo",
    "eval=quick",
    "eval.prompts=64",
    "train.max_steps=40",
    "algo.learning_rate=tag(log,interval(1e-6,1e-2))",
    "algo.beta=tag(log,interval(5e-3,0.3))",
    "train.batch_size=choice(16,32,64)",
)
STARTUP_TRIALS = 6
"""Random trials before the sampler's model is asked, for both: their defaults differ."""
BELOW_MICROSECONDS = re.compile(r"(?<=\.\d{6})\d+ ")
OURS, BASIC, JOBLIB, SHARED = "rlexp", "basic", "joblib", "joblib-shared"
PEERS = {BASIC: " (wanted: at most 0.50)", JOBLIB: " (wanted: at most 0.33)", SHARED: ""}
"""By what the plugin launches its trials, and what ours should come to beside it."""


@dataclass(frozen=True)
class Found:
    """What a sweep came to.

    Attributes:
        seconds: of the whole command.
        values: the objective of each finished trial, and the seconds after which it was known.
    """

    seconds: float
    values: list[tuple[float, float]]

    @property
    def best(self) -> float:
        return max(value for value, _ in self.values)

    def seconds_to(self, value: float) -> float:
        return min(known for each, known in self.values if each >= value)


def plugin_environment(folder: Path) -> str:
    """The Python of an environment with the plugin, made with what cannot be had here only."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, *PEER], check=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (own / "here.pth").write_text(sysconfig.get_path("purelib"))  # behind the environment's own
    return python


def command(system: str, python: str, seed: int, trials: int) -> list[str]:
    """A sweep as a person would type it."""
    if system == OURS:
        settings = [f"sweep.n_trials={trials}", "sweep.n_jobs=2", f"sweep.seed={seed}"]
        settings += [f"sweep.sampler.n_startup_trials={STARTUP_TRIALS}", "eval.every=5"]
        settings += ["sweep/pruner=asha", "sweep.pruner.min_resource=5"]
        return [sys.executable, "-m", "rlexp", "-m", "sweep=optuna", *settings, *WORK]
    settings = [f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.direction=maximize"]
    settings += [f"hydra.sweeper.sampler.{name}" for name in (f"seed={seed}", "multivariate=false")]
    settings += [f"hydra.sweeper.sampler.n_startup_trials={STARTUP_TRIALS}"]
    settings += ["hydra.sweep.dir=multirun/optuna", "eval.every=0"]
    if system == BASIC:
        settings += ["hydra.sweeper.n_jobs=1"]
    else:
        settings += ["hydra.sweeper.n_jobs=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        settings += ["hardware.threads=1"] * (system == SHARED)
    return [python, "-m", "rlexp", "-m", "hydra/sweeper=optuna", *settings, *WORK]


def swept(system: str, python: str, seed: int, trials: int, folder: Path) -> Found:
    """Sweep in a folder of its own."""
    folder.mkdir(parents=True)
    began, at = time.time(), time.perf_counter()
    run(command(system, python, seed, trials), folder)
    seconds = time.perf_counter() - at
    cards = (folder / "multirun" / "optuna").glob("*/card.json")
    values = [
        (float(card["after"]["reward"]), path.stat().st_mtime - began)
        for path in cards
        if (card := json.loads(path.read_text(encoding="utf-8")))["status"] == "FINISHED"
    ]
    return Found(seconds, values)


def run(arguments: Sequence[str], folder: Path) -> None:
    """A command to its end; what it printed stands in the folder, and is shown if it fails."""
    with (folder / "output.log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(arguments, cwd=folder, env=environment, stdout=log, stderr=log)
    if done.returncode:
        raise RuntimeError((folder / "output.log").read_text(errors="replace")[-3000:])


def best(
    scratch: Path, python: str, seeds: Sequence[int], trials: int, peers: Sequence[str]
) -> None:
    """Print the table of ratios."""
    names = (OURS, *peers)
    ours, theirs = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    whole = dict.fromkeys(names, 0.0)
    print(f"{'seed':>4}  {'sweeper':16} {'best':>7} {'finished':>8} {'known at':>10} {'whole':>8}")
    for seed in seeds:
        found = {
            name: swept(name, python, seed, trials, scratch / str(seed) / name) for name in names
        }
        for name, each in found.items():
            target = min(each.best, found[OURS].best)
            ours[name] += found[OURS].seconds_to(target)
            theirs[name] += each.seconds_to(target)
            whole[name] += each.seconds
            print(
                f"{seed:4}  {name:16} {each.best:7.4f} {len(each.values):5}/{trials:<2}"
                f" {each.seconds_to(each.best):8.1f} s {each.seconds:6.1f} s",
                flush=True,
            )
    for name in peers:
        ratio, all_trials = ours[name] / theirs[name], whole[OURS] / whole[name]
        print(
            f"best: {ratio:.2f} of the time of {name} to the same value{PEERS[name]},"
            f" {all_trials:.2f} for all trials"
        )


def idle(scratch: Path, seeds: Sequence[int], trials: int) -> None:
    """Print the share of two slots in which no trial was, over all seeds."""
    empty = there = 0.0
    for seed in seeds:
        folder = scratch / str(seed) / OURS
        if not folder.exists():
            swept(OURS, "", seed, trials, folder)
        spans = spans_of(folder)
        last_begun = max(begun for begun, _ in spans)
        first_begun = min(begun for begun, _ in spans)
        busy = sum(min(ended, last_begun) - begun for begun, ended in spans)
        there += 2 * (last_begun - first_begun)
        empty += 2 * (last_begun - first_begun) - busy
        lengths = [ended - begun for begun, ended in spans]
        print(f"  seed {seed}: trials of {min(lengths):.1f} s to {max(lengths):.1f} s")
    print(f"idle: {empty / there:.1%} of two slots (wanted: under 5 %)")


def spans_of(folder: Path) -> list[tuple[float, float]]:
    """From when each trial's process had its job to its last word to the study, in seconds."""
    from rlexp.sweep.study import read_study
    from rlexp.sweep.workers.slots import OUTPUT

    place = folder / "multirun" / "optuna"
    return [
        (born(place / str(trial.number) / OUTPUT), trial.datetime_complete.timestamp())
        for trial in read_study(str(place)).trials
        if trial.datetime_complete
    ]


def born(file: Path) -> float:
    """When a file was made, which Python does not tell on Linux."""
    told = subprocess.run(["stat", "--format=%w", file], capture_output=True, text=True, check=True)
    return datetime.fromisoformat(BELOW_MICROSECONDS.sub("", told.stdout.strip())).timestamp()


def overhead(scratch: Path, trials: int) -> None:
    """Print what a trial takes that does nothing, in a sweep with one slot."""
    folder = scratch / "nothing"
    folder.mkdir()
    settings = ["sweep=optuna", f"sweep.n_trials={trials}", "sweep.n_jobs=1"]
    run([sys.executable, __file__, "--nothing", "-m", *settings, *WORK], folder)
    a_trial = between(sorted(ended for _, ended in spans_of(folder)))
    plain = scratch / "plain"
    plain.mkdir()
    seeds = ",".join(map(str, range(trials)))
    settings = [f"seed={seeds}", "hydra.sweep.dir=jobs", "tracking=none"]
    run([sys.executable, __file__, "--nothing", "-m", *settings, *WORK[:4]], plain)
    configs = (plain / "jobs").glob("*/.hydra/overrides.yaml")
    a_job = between(sorted(each.stat().st_mtime for each in configs))
    print(
        f"overhead: {a_trial - a_job:.2f} s of the {a_trial:.2f} s of a trial that does nothing;"
        f" Hydra's own sweeper takes {a_job:.2f} s for such a job (wanted: under 0.3 s)"
    )


def between(moments: Sequence[float]) -> float:
    """The median distance of neighbours."""
    return statistics.median(later - sooner for sooner, later in pairwise(moments))


def nothing(config: Any) -> None:
    """A trial that knows its result without a run; outside of a study a job without one."""
    from hydra.core.hydra_config import HydraConfig

    from rlexp.sweep.study import sweep_spec
    from rlexp.sweep.trial import attached

    if "sweep" not in config:
        return
    with attached(sweep_spec(config.sweep), HydraConfig.get().sweeper.trial) as trial:
        trial.finish({"eval/reward": config.algo.beta})


def sweep_nothing() -> None:
    """A sweep of such trials: what Hydra gets is the rest of the command line."""
    import hydra

    from rlexp.cli import main as command_line  # whose plugins Hydra is to find
    from rlexp.runtime.paths import CONF

    sys.argv = [command_line.__name__, *sys.argv[2:]]
    hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(nothing)()


def main() -> None:
    if sys.argv[1:2] == ["--nothing"]:
        sweep_nothing()
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    arguments = parser.parse_args()
    from rlexp.builtin import tiny

    tiny.ensure_tiny_model()  # pre-trained once, for whoever comes first
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(prefix="rlexp-sweep-") as name:
        scratch = Path(name)
        if "best" in arguments.only:
            python = plugin_environment(scratch / "plugin")
            best(scratch, python, arguments.seeds, arguments.trials, arguments.peers)
        if "idle" in arguments.only:
            idle(scratch, arguments.seeds, arguments.trials)
        if "overhead" in arguments.only:
            overhead(scratch, arguments.trials)
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
