"""The recipes of benchmarks/recipes.py from end to end, on built copies of the data sets."""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlexp.runtime.paths import CONF

SCRIPT = CONF.parent / "benchmarks" / "recipes.py"
SHORT = [
    *["train.max_steps=1", "train.batch_size=8", "eval.prompts=6", "eval.completions=1"],
    *["eval.texts=6", "eval.bootstrap=50", "hardware.threads=1", "data.max_completion_length=8"],
]
WORDS = {1: "a fine and moving film", 0: "a dull and empty mess"}
Recipes = Callable[..., str]


def sentence(rng: random.Random, label: int) -> str:
    return " ".join(rng.choices(WORDS[label].split(), k=9))


def review(rng: random.Random) -> dict[str, Any]:
    label = rng.randrange(2)
    return {"text": sentence(rng, label), "label": label}


def dialogue(rng: random.Random) -> dict[str, Any]:
    asked = f"\n\nHuman: What is {rng.randrange(99)}?\n\nAssistant: "
    return {"chosen": asked + sentence(rng, 1), "rejected": asked + sentence(rng, 0)}


def problem(rng: random.Random) -> dict[str, Any]:
    a, b = rng.randrange(50), rng.randrange(50)
    return {"question": f"What is {a} + {b}?", "answer": f"{a} + {b} = {a + b}\n#### {a + b}"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three data sets, of 40 and 20 rows."""
    folder, rng = tmp_path_factory.mktemp("data"), random.Random(0)
    kinds = {"rotten_tomatoes": review, "hh_harmless": dialogue, "gsm8k": problem}
    for name, row in kinds.items():
        (folder / name).mkdir()
        for split, rows in (("train", 40), ("test", 20)):
            lines = [json.dumps(row(rng)) for _ in range(rows)]
            (folder / name / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def recipes(
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Recipes:
    """Types the script's command; what it said."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))

    def typed(*only: str, data: Path = built) -> str:
        words = ["--only", *only, "--data", str(data), "--overrides", *SHORT]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        said = capsys.readouterr()
        return said.out + said.err

    return typed


def figures(said: str, what: str) -> list[str]:
    """What stands after a figure's name, line by line."""
    lines = [line.strip() for line in said.splitlines()]
    return [line.removeprefix(what).strip() for line in lines if line.startswith(what)]


@pytest.mark.slow
def test_a_language_model_is_pretrained_and_steered(recipes: Recipes) -> None:
    """A run of the chain that does not find what the one before it left; a figure without its
    interval."""
    said = recipes("rotten_reward", "rotten_lm")
    (accuracy,) = figures(said, "pairs in the right order")
    assert "→" in accuracy and accuracy.endswith("]")
    assert figures(said, "labels of 20 texts found")
    assert "random weights" in said
    (reward,) = figures(said, "its reward")
    assert "→" in reward and reward.endswith("]")
    assert figures(said, "VADER") and len(figures(said, "perplexity")) == 2
    assert len(figures(said, "seconds")) == 3


@pytest.mark.slow
def test_preferences_and_answers(recipes: Recipes) -> None:
    """An experiment that local copies of its data do not fit, or whose reward does not name its
    terms."""
    said = recipes("hh_preference", "gsm8k_format")
    assert figures(said, "pairs in the right order")[0].endswith("]")
    assert figures(said, "reward_format") and figures(said, "reward_math")
    assert "Plumbing only" in said


def test_data_that_are_not_there_are_said_to_be_skipped(recipes: Recipes, tmp_path: Path) -> None:
    """A recipe that goes to the hub, or a script that fails, where there is no copy."""
    said = recipes("rotten_lm", "gsm8k_format", data=tmp_path)
    assert "rotten_lm: skipped, there is no rotten_tomatoes" in said
    assert said.count("skipped") == 2 and "seconds" not in said
