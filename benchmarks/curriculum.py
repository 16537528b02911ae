"""What curricula and dynamic sampling are worth: python benchmarks/curriculum.py

Two tasks. `sums`: a small model (0.1 M weights) that was pre-trained on additions of a digit,
too briefly to have learnt them, is trained by GRPO to write the right sum, and nothing is
paid for less. `reviews`: the embedded model and data, where the reward is a number that always
differs. Each way of drawing prompts is run with the same seeds, steps and held-out prompts as no
curriculum, and compared with it seed by seed: mean difference of the held-out reward, with a 95 %
interval by a bootstrap over seeds and prompts. Where answers are thrown away, the run without is
also given as many more steps as those tokens would have paid for.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from rlexp.config.hydra import composed_config
from rlexp.evaluation.results import Evaluation
from rlexp.launch.launcher import launch
from rlexp.runner.recorder import evaluation_file
from rlexp.spec.run import RunSpec

PLAIN = (
    "tracking=none",
    "guards=off",
    "scoring.probe=off",
    "hardware=cpu",
    "eval.best_of=0",
    "eval.texts=0",
    "eval.bootstrap=200",
    "train.checkpoint_every=1000",
)
REWARD = """
def exact(prompts, completions, answer, **columns):
    return [float(text.strip() == right) for text, right in zip(completions, answer, strict=True)]
"""
SUMS = {
    "none": (),
    "length": ("curriculum=length",),
    "column": ("curriculum=column", "curriculum.column=level"),
    "column, hard first": (
        "curriculum=column",
        "curriculum.column=level",
        "curriculum.descending=true",
    ),
    "difficulty": ("curriculum=difficulty", "curriculum.passes_from=1", "curriculum.prompts=512"),
    "difficulty 0.1-0.9": (
        "curriculum=difficulty",
        "curriculum.passes_from=1",
        "curriculum.prompts=512",
        "curriculum.window=[0.1,0.9]",
        "curriculum.pace.start=1",
    ),
    "reward_paced": (
        "curriculum=column",
        "curriculum.column=level",
        "curriculum.pace.by=reward",
        "curriculum.pace.threshold=0.6",
        "curriculum.pace.start=0.34",
        "curriculum.pace.parts=2",
        "curriculum.pace.window=3",
        "curriculum.pace.patience=15",
    ),
    "mixture": (
        "curriculum=mixture",
        "curriculum.column=level",
        "+curriculum.weights.1={from: 3, to: 1, steps: 30}",
        "+curriculum.weights.2=2",
        "+curriculum.weights.3={from: 0, to: 2, steps: 30}",
    ),
    "dynamic sampling": ("algo.dynamic_sampling=3",),
}
REVIEWS = {
    "none": (),
    "length": ("curriculum=length",),
    "difficulty": ("curriculum=difficulty", "curriculum.prompts=256"),
    "reward_paced": ("curriculum=reward_paced", "curriculum.pace.threshold=0.5"),
    "dynamic sampling": ("algo.dynamic_sampling=3",),
}


def run(folder: Path, *words: str) -> Path:
    """A run in this process, unless the folder has one already; its folder."""
    if not (folder / "card.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config = OmegaConf.to_container(composed_config([*PLAIN, *words]), resolve=True)
        assert isinstance(config, dict)
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        spec = RunSpec.parse({str(key): value for key, value in config.items()})
        with contextlib.redirect_stdout(io.StringIO()):
            launch(spec, folder, None)
    return folder


def write_sums(folder: Path, count: int, seed: int) -> Path:
    """Additions of a digit, with their answers and a level: to 0-9, to 10-19, to 20-49."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        level = draw.randint(1, 3)
        low, high = {1: (0, 9), 2: (10, 19), 3: (20, 49)}[level]
        one, two = draw.randint(low, high), draw.randint(0, 9)
        right = str(one + two)
        # a space between digits: a token each, whatever the tokenizer merges
        prompt = f"{' '.join(str(one))} + {' '.join(str(two))} ="
        answer = " ".join(right)
        rows.append(
            {"prompt": prompt, "completion": f" {answer}", "answer": answer, "level": level}
        )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def sums(folder: Path, steps: int, pretraining: int) -> list[str]:
    """The words of a run on sums, after a model was pre-trained on others."""
    (folder / "sum_reward.py").write_text(REWARD, encoding="utf-8")
    sys.path.insert(0, str(folder))
    shape = ("model.shape.hidden_size=64", "model.shape.vocabulary=300", "model.shape.context=64")
    texts = write_sums(folder / "pretraining", 4000, seed=1)
    model = run(
        folder / "pretrained",
        "algo=sft",
        "model=scratch",
        *shape,
        "data=file",
        f"data.path={texts}",
        "data.max_completion_length=6",
        "reward=none",
        f"train.max_steps={pretraining}",
        "train.batch_size=64",
        "algo.learning_rate=5e-3",
        "eval=quick",
    )
    prompts = write_sums(folder / "training", 3000, seed=2)
    return [
        "algo=grpo",
        "model=local",
        f"model.path={model / 'model'}",
        "data=file",
        f"data.path={prompts}",
        "data.max_completion_length=6",
        "reward=python",
        "reward.function=sum_reward:exact",
        f"train.max_steps={steps}",
        "train.batch_size=128",
        "train.micro_batch_size=null",
        "algo.num_generations=4",
        "algo.learning_rate=1e-3",
        "algo.beta=0.01",
        "eval.prompts=240",
        "eval.completions=2",
        "eval.slices=[level]",
    ]


def reviews(steps: int) -> list[str]:
    """The words of the default run, shorter."""
    return [f"train.max_steps={steps}", "eval.prompts=120", "eval.completions=2"]


def held_out(folder: Path, steps: int) -> list[float]:
    """The mean reward of each held-out prompt after the training."""
    samples = Evaluation.from_json(evaluation_file(folder, steps)).samples
    rewards: dict[str, list[float]] = {}
    for sample in samples:
        rewards.setdefault(str(sample.prompt), []).append(float(sample.reward or 0.0))
    return [fmean(rewards[prompt]) for prompt in sorted(rewards)]


def tracked(folder: Path, name: str) -> list[float]:
    """What the run's spool has of a metric, step by step."""
    lines = (folder / "spool.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = (json.loads(line).get("metrics", {}) for line in lines)
    return [values[name] for values in metrics if isinstance(values, dict) and name in values]


def difference(ours: Sequence[list[float]], without: Sequence[list[float]]) -> tuple[float, ...]:
    """Mean difference and its 95 % interval, seeds and prompts drawn anew; both are (seeds, n)."""
    gains = np.asarray(ours) - np.asarray(without)
    generator = np.random.default_rng(0)
    seeds, prompts = gains.shape
    means = [
        gains[generator.integers(seeds, size=seeds)][:, generator.integers(prompts, size=prompts)]
        .mean()
        .item()
        for _ in range(4000)
    ]
    return gains.mean().item(), *np.quantile(means, [0.025, 0.975]).tolist()


class Comparison:
    """Runs of one task, with every way of drawing and every seed."""

    def __init__(self, task: str, folder: Path, words: list[str], seeds: int, steps: int) -> None:
        self.task, self.folder, self.words = task, folder, words
        self.seeds, self.steps = range(seeds), steps

    def runs(self, way: str, words: Sequence[str], steps: int) -> list[Path]:
        place = self.folder / self.task / way.replace(" ", "_")
        more = [*words, f"train.max_steps={steps}"]
        return [run(place / str(seed), *self.words, *more, f"seed={seed}") for seed in self.seeds]

    def compare(self, ways: dict[str, tuple[str, ...]]) -> None:
        """Run all of them, and print what each is worth."""
        without: list[list[float]] = []
        tokens = 0.0
        print(f"\n{self.task}: {self.steps} steps, {len(self.seeds)} seeds")
        print(f"{'':20} {'reward':>7} {'difference':>11} {'95 %':>17} {'tokens':>8} {'uniform':>8}")
        for way, words in ways.items():
            folders = self.runs(way, words, self.steps)
            earned = [held_out(folder, self.steps) for folder in folders]
            without = without or earned
            read = fmean(tracked(folder, "perf/tokens")[-1] for folder in folders)
            tokens = tokens or read
            self.show(way, folders, earned, without, read)
            if "dynamic" in way:
                steps = round(self.steps * read / tokens)
                longer = self.runs(f"none, {steps} steps", (), steps)
                rewards = [held_out(folder, steps) for folder in longer]
                read = fmean(tracked(folder, "perf/tokens")[-1] for folder in longer)
                self.show(f"none, {steps} steps", longer, rewards, without, read)
                gain, low, high = difference(earned, rewards)
                print(f"{'  at the same tokens':20} {'':7} {gain:+11.3f} [{low:+.3f}, {high:+.3f}]")

    def show(
        self,
        way: str,
        folders: Sequence[Path],
        earned: Sequence[list[float]],
        without: Sequence[list[float]],
        tokens: float,
    ) -> None:
        gain, low, high = difference(earned, without)
        uniform = fmean(
            share for folder in folders for share in tracked(folder, "rollout/frac_reward_zero_std")
        )
        reward = float(np.mean(earned))
        between = f"[{low:+.3f}, {high:+.3f}]"
        figures = f"{reward:7.3f} {gain:+11.3f} {between:>17} {tokens:8.0f} {uniform:8.2f}"
        print(f"{way:20} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=["sums", "reviews", "both"], default="both")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100, help="of sums; reviews has a fifth")
    parser.add_argument("--pretraining", type=int, default=250, help="steps, of sums")
    parser.add_argument("--only", nargs="+", help="ways of drawing beside none")
    parser.add_argument("--folder", type=Path, help="where the runs stay; by default they are lost")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as lost:
        folder = (asked.folder or Path(lost)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        tasks = {
            "sums": (SUMS, asked.steps, lambda: sums(folder, asked.steps, asked.pretraining)),
            "reviews": (REVIEWS, asked.steps // 5, lambda: reviews(asked.steps // 5)),
        }
        for task, (ways, steps, words) in tasks.items():
            if asked.task in (task, "both"):
                wanted: dict[str, Any] = {
                    way: choice
                    for way, choice in ways.items()
                    if way == "none" or not asked.only or way in asked.only
                }
                Comparison(task, folder, words(), asked.seeds, steps).compare(wanted)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
