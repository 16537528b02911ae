"""PPO beside TRL's last one: python benchmarks/ppo.py [--curve] [--model FOLDER]

TRL 1.12.0 was the last release with a PPO trainer. It is installed into a folder of its own, beside
everything else as it is here, so that both run on the same torch and transformers. Both train the
same weights on the same prompts with the same batch, lengths, epochs and minibatches.

Without `--curve`: how long a step takes. Both ask a reward model of the policy's size for rewards.
They run in turns, each in a process of its own; what is compared is the median time of a step, in
pairs of neighbours. `floor` is what cannot be left out: the rollout, the reward, a forward pass of
policy and reference, and a forward and a backward pass for each epoch, written down bare.

With `--curve`: what is learnt from the same number of samples. Both make texts positive (VADER),
with the same KL coefficient, at each learning rate and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from ppo_trainers import BATCH, TRAINERS, VERSION, Job

WARM_UP = 2
"""Steps whose time does not count."""
LAST = 5
"""Batches whose mean stands for a place on the curve."""


def measured(what: str, arguments: argparse.Namespace, **options: float | str) -> Job:
    """A training in a process of its own, with what was seen of it."""
    paths = [str(Path(__file__).parents[1])]
    if what == "trl":
        paths.insert(0, str(arguments.library))
    command = [sys.executable, __file__, "--only", what, "--model", str(arguments.model)]
    command += ["--steps", str(arguments.steps)]
    command += [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TRL_EXPERIMENTAL_SILENCE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return Job(**json.loads(done.stdout.splitlines()[-1]))


def step_seconds(job: Job) -> float:
    steps = [later - sooner for sooner, later in pairwise(job.ends)]
    return statistics.median(steps[WARM_UP:])


def install(library: Path) -> None:
    """TRL's release into a folder that only its own processes see."""
    if (library / "trl").is_dir():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(library), f"trl=={VERSION}"], check=True)


def compare_speed(arguments: argparse.Namespace) -> None:
    seconds: dict[str, list[float]] = {what: [] for what in TRAINERS}
    for pair in range(arguments.pairs):
        for what, found in seconds.items():
            found.append(step_seconds(measured(what, arguments)))
        told = (f"{what} {found[-1] * 1000:.0f} ms" for what, found in seconds.items())
        print(f"  round {pair}:", *told, flush=True)
    for what in ("shared", "separate"):
        ratios = [a / b for a, b in zip(seconds["trl"], seconds[what], strict=True)]
        over = [a / b for a, b in zip(seconds[what], seconds["floor"], strict=True)]
        print(
            f"PPO, {what} critic: {statistics.median(ratios):.2f} times as fast as TRL {VERSION} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(over):.2f} times the "
            f"floor; {statistics.median(seconds[what]) * 1000:.0f} ms a step"
        )


def compare_curves(arguments: argparse.Namespace) -> None:
    """Mean scores after a quarter, a half, three quarters and all of the samples."""
    places = [arguments.steps * quarter // 4 for quarter in (1, 2, 3, 4)]
    print("mean score after", *(f"{place * BATCH} samples" for place in places), sep="   ")
    for rate in arguments.learning_rates:
        for what in ("trl", "shared", "separate"):
            curves = [
                measured(what, arguments, scorer="sentiment", learning_rate=rate, seed=seed).scores
                for seed in arguments.seeds
            ]
            told = []
            for place in places:
                means = [statistics.fmean(curve[max(0, place - LAST) : place]) for curve in curves]
                told.append(f"{statistics.median(means):.3f} [{min(means):.3f}, {max(means):.3f}]")
            print(f"learning rate {rate:g}  {what:9}", *told, sep="   ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curve", action="store_true", help="what is learnt, instead of how fast")
    parser.add_argument("--model", type=Path, help="a small model's folder; by default the tiny")
    parser.add_argument("--steps", type=int, help="12, or 40 for curves")
    parser.add_argument("--pairs", type=int, default=5, help="rounds in which speed is measured")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--library", type=Path, default=Path(tempfile.gettempdir(), f"trl-{VERSION}")
    )
    one = parser.add_argument_group("one training, of which a line of JSON is printed")
    one.add_argument("--only", choices=TRAINERS)
    one.add_argument("--learning_rate", type=float, default=5e-4)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--scorer", choices=("model", "sentiment"), default="model")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (40 if arguments.curve else 12)
    if arguments.model is None:
        from rlexp.builtin import tiny

        arguments.model = tiny.ensure_tiny_model()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.only is None:
        install(arguments.library)
        (compare_curves if arguments.curve else compare_speed)(arguments)
        return
    with tempfile.TemporaryDirectory() as scratch:
        asked = {name: getattr(arguments, name) for name in ("steps", "learning_rate", "seed")}
        job = Job(folder=arguments.model, scratch=scratch, scorer=arguments.scorer, **asked)
        TRAINERS[arguments.only](job)
        told = {name: getattr(job, name) for name in Job.__dataclass_fields__}
        print(json.dumps({**told, "folder": str(job.folder)}))


if __name__ == "__main__":
    main()
