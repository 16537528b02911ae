"""The embedded task by every algorithm: python benchmarks/algorithms.py --seeds 0 1 2

With `--recipes` by every recipe of the field instead: `experiment=NAME`, and `pipeline=best_of_n`.

Each run is a command that a person could type, and the numbers are those of its card: after the
training, on held-out prompts, with the median over the seeds and their range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ALGORITHMS = [
    *["grpo", "rloo", "ppo", "reinforce", "online_dpo"],
    *["dpo", "kto", "orpo", "cpo", "sft", "reward"],
]
RECIPES = [
    *["grpo_classic", "dapo", "gspo", "dr_grpo", "scalerl", "rloo", "reinforce_pp", "ppo_classic"],
    *["online_dpo", "ipo", "simpo", "best_of_n"],
]
PIPELINES = {"best_of_n"}
"""Recipes of several runs, of which the last one's card counts, and the training of all."""
COLUMNS = {
    "reward": "reward",
    "grammatical": "grammatical",
    "KL": "kl",
    "perplexity": "perplexity",
    "accuracy": "accuracy",
    "train s": "train_seconds",
    "tokens/s": "tokens_per_second",
}


def card_of(word: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """The card of one run, such as `algo=grpo`, in a folder that is gone afterwards.

    Raises:
        RuntimeError: the run failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rlexp", word, f"seed={seed}", "tracking=none"]
        done = subprocess.run(
            [*command, *overrides], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{word} seed={seed}: {done.stderr}")
        files = {file.resolve() for file in Path(folder).rglob("card.json")}
        files = sorted(files, key=lambda file: file.stat().st_mtime_ns)
        cards = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        seconds = sum(card.get("train_seconds") or 0.0 for card in cards)
        return {**cards[-1], "train_seconds": seconds}


def word_of(recipe: str) -> str:
    return f"pipeline={recipe}" if recipe in PIPELINES else f"experiment={recipe}"


def cell(cards: list[dict[str, Any]], name: str) -> str:
    """Median and range of a card's number over the seeds; a dash where it has none."""
    found = [card["after"].get(name, card.get(name)) for card in cards]
    values = [value for value in found if isinstance(value, (int, float))]
    if not values:
        return "–"
    digits = 3 if abs(values[0]) < 10 else 0
    low, high, middle = min(values), max(values), statistics.median(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algos", nargs="+", default=ALGORITHMS)
    parser.add_argument("--recipes", nargs="*", metavar="RECIPE", help="these; none named: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--overrides", nargs="*", default=[], help="further key=value of each run")
    asked = parser.parse_args()
    words = {algo: f"algo={algo}" for algo in asked.algos}
    if asked.recipes is not None:
        words = {recipe: word_of(recipe) for recipe in asked.recipes or RECIPES}
    print(f"| {'algorithm' if asked.recipes is None else 'recipe'} | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|", flush=True)
    for name, word in words.items():
        overrides = [f"train.max_steps={asked.steps}", *asked.overrides]
        cards = [card_of(word, seed, overrides) for seed in asked.seeds]
        cells = [cell(cards, metric) for metric in COLUMNS.values()]
        print(f"| `{name}` | " + " | ".join(cells) + " |", flush=True)
        for warning in sorted({guard for card in cards for guard in card["guards"]}):
            print(f"  {name}: {warning}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
