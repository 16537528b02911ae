"""How threads that wait for each other cost runs beside each other: python benchmarks/threads.py

torch's OpenMP is libgomp, whose threads turn in a loop while they wait, `GOMP_SPINCOUNT` times,
before they sleep. A waiting thread that turns keeps its core from the thread that it waits for,
where there are more threads than cores, as there are with two runs on one machine.

PPO is trained alone and twice at once with each count, in turns; what is compared is the time of
the training loop, as a ratio to that of libgomp's own count in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

USUAL = 300_000
"""libgomp's own count where neither it nor `OMP_WAIT_POLICY` is set."""


def train(spins: int, at_once: int, arguments: argparse.Namespace, place: Path) -> float:
    """Mean seconds of the training loops of runs that begin together."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment |= {"GOMP_SPINCOUNT": str(spins), "PYTHONPATH": str(Path(__file__).parents[1])}
    folders = [place / f"{spins}-{at_once}-{index}" for index in range(at_once)]
    words = [f"algo={arguments.algo}", f"train.max_steps={arguments.steps}", "eval=quick"]
    words += ["guards=off", "tracking=none", "train.checkpoint_every=1000", "hardware=cpu"]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "rlexp", *words, f"hydra.run.dir={folder}"],
            cwd=place,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    if any(run.wait() for run in runs):
        raise SystemExit("a run failed")
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    return statistics.fmean(card["train_seconds"] for card in cards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", default="ppo")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spins", type=int, nargs="+", default=[0, 1000, 10_000, 100_000])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2], help="runs")
    arguments = parser.parse_args()
    counts = [USUAL, *arguments.spins]
    ratios: dict[tuple[int, int], list[float]] = {}
    for number in range(1, arguments.rounds + 1):
        for at_once in arguments.at_once:
            seconds = {}
            for spins in counts if number % 2 else reversed(counts):
                with tempfile.TemporaryDirectory() as place:
                    seconds[spins] = train(spins, at_once, arguments, Path(place))
            for spins, taken in seconds.items():
                ratio = taken / seconds[USUAL]
                ratios.setdefault((spins, at_once), []).append(ratio)
                print(f"round {number}  {at_once} at once  {spins:7}  {taken:6.1f} s  {ratio:.2f}")
            sys.stdout.flush()
    print("\nmedian ratio to libgomp's own count")
    for spins in counts:
        medians = (f"{statistics.median(ratios[spins, n]):.2f}" for n in arguments.at_once)
        print(f"{spins:7}  {'  '.join(medians)}")


if __name__ == "__main__":
    main()
