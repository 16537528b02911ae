"""The recipes on real text, end to end: python benchmarks/recipes.py --data FOLDER

Each is the command that its yaml in `conf/experiment` begins with, on copies of the published data
sets: FOLDER (or `$RLEXP_DATA`) holds `rotten_tomatoes`, `hh_harmless` and `gsm8k`, each with
`train.jsonl` and `test.jsonl`. A recipe whose data are not there is skipped, with a word.

The figures are those of the cards, on held-out texts, with 95 % intervals over the prompts or
pairs; a text's label is read off the sign of its score.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from rlexp.config.hydra import composed_config
from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.launch.launcher import launch
from rlexp.runtime.paths import CONF
from rlexp.spec.run import RunSpec

DATA = CONF.parent.parent / "shared" / "data"
RESAMPLES = 2000


class Recipes:
    """The recipes; a run that two of them need is made once.

    Args:
        data: folder of the data sets.
        folder: where the runs go; one that has finished there with the same config is not repeated.
        overrides: further `key=value` of each run.
    """

    def __init__(self, data: Path, folder: Path, overrides: list[str]) -> None:
        self.data, self.folder, self.overrides = data, folder, overrides

    def run(self, experiment: str, data: str, *more: str) -> tuple[Path, dict[str, Any]]:
        """Run an experiment in this process; its folder and its card.

        Raises:
            SystemExit: the folder holds a run with another config, or one that did not finish.
        """
        words = [f"experiment={experiment}", f"data.path={self.data / data}", "tracking=none"]
        composed = composed_config([*words, *more, *self.overrides])
        config = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(config, dict)
        folder = self.folder / experiment
        if (folder / "card.json").is_file() and read_yaml(folder / "config.yaml") == config:
            return folder, json.loads((folder / "card.json").read_text(encoding="utf-8"))
        if folder.exists():
            raise SystemExit(f"{folder}: another run, or an unfinished one; name another --folder")
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        spec = RunSpec.parse({str(key): value for key, value in config.items()})
        with contextlib.redirect_stdout(io.StringIO()):
            return folder, launch(spec, folder, None)

    @cached_property
    def scorer(self) -> tuple[Path, dict[str, Any]]:
        return self.run("rotten_reward", "rotten_tomatoes")

    def rotten_reward(self) -> None:
        """A reward model of sentiment, trained from nothing on labelled sentences."""
        folder, card = self.scorer
        show("pairs in the right order", card, "accuracy")
        texts = [json.loads(line) for line in lines(self.data / "rotten_tomatoes" / "test.jsonl")]
        right = labels_found(folder, texts)
        ends = bootstrap_ratio(right, [1.0] * len(right), RESAMPLES, 0)
        say(f"labels of {len(right)} texts found", f"{sum(right) / len(right):.3f}{between(ends)}")
        end(card)

    def rotten_lm(self) -> None:
        """A language model pre-trained from nothing on the sentences, then steered by GRPO."""
        folder, card = self.run("rotten_lm", "rotten_tomatoes")
        say("pre-training", next(note for note in card["notes"] if "a new model" in note))
        show("perplexity of held-out texts", card, "perplexity")
        end(card)
        beginning = [f"model.path={folder / 'model'}", f"reward.path={self.scorer[0]}"]
        _, card = self.run("rotten_grpo", "rotten_tomatoes", *beginning)
        say("steering", "GRPO by the reward model of rotten_reward")
        show("its reward", card, "reward")
        show("VADER, which it does not know", card, "gold_sentiment")
        for name in ("kl", "perplexity", "distinct_2", "length"):
            show(name, card, name)
        end(card)

    def hh_preference(self) -> None:
        """A preference model of harmless answers, trained from nothing on 1,600 dialogues."""
        _, card = self.run("hh_preference", "hh_harmless")
        show("pairs in the right order", card, "accuracy")
        end(card)

    def gsm8k_format(self) -> None:
        """Plumbing only: form and answer reward a model of random weights, which learns nothing."""
        _, card = self.run("gsm8k_format", "gsm8k")
        for name in ("reward", "reward_format", "reward_math"):
            show(name, card, name)
        end(card)


RECIPES: dict[str, tuple[str, Callable[[Recipes], None]]] = {
    "rotten_reward": ("rotten_tomatoes", Recipes.rotten_reward),
    "rotten_lm": ("rotten_tomatoes", Recipes.rotten_lm),
    "hh_preference": ("hh_harmless", Recipes.hh_preference),
    "gsm8k_format": ("gsm8k", Recipes.gsm8k_format),
}


def read_yaml(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line]


def labels_found(run: Path, texts: list[dict[str, Any]]) -> list[float]:
    """For each text 1 if the reward model in a run's folder is above 0 where the label is true."""
    from rlexp.models.locate import local_folder
    from rlexp.rewards.model import Model

    knobs = read_yaml(CONF / "reward" / "model.yaml") | {"path": str(run)}
    model = Model(**{name: value for name, value in knobs.items() if name != "_target_"})
    model.prepare("cpu", local_folder)
    scores = model([""] * len(texts), [each["text"] for each in texts])
    labels = [bool(each["label"]) for each in texts]
    return [float((score > 0) == label) for score, label in zip(scores, labels, strict=True)]


def say(what: str, figure: str) -> None:
    print(f"  {what:30} {figure}", flush=True)


def show(what: str, card: dict[str, Any], name: str) -> None:
    """A metric of a card before and after the training; the interval is that of the latter."""
    before, after = (card[when].get(name) for when in ("before", "after"))
    if after is not None:
        say(what, f"{before:.3f} → {after:.3f}{between(card['intervals'].get(name))}")


def between(ends: Any) -> str:
    return f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def end(card: dict[str, Any]) -> None:
    """What the card warns of, and what the run took."""
    for warning in card["guards"]:
        say("the card warns", warning)
    say("seconds", f"{card['train_seconds']:.0f} of training, {card['total_seconds']:.0f} in all")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RLEXP_DATA") or DATA))
    parser.add_argument("--folder", type=Path, help="where the runs stay; by default they are lost")
    parser.add_argument("--overrides", nargs="*", default=[], help="further key=value of each run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = (asked.folder or Path(folder)).resolve()
        recipes = Recipes(asked.data.resolve(), kept, asked.overrides)
        for name in asked.only:
            data, recipe = RECIPES[name]
            if not (asked.data / data / "train.jsonl").is_file():
                print(f"{name}: skipped, there is no {data} in {asked.data}", file=sys.stderr)
                continue
            print(f"{name}: {(recipe.__doc__ or '').strip()}", flush=True)
            recipe(recipes)


if __name__ == "__main__":
    main()
