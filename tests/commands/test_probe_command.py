"""`python -m rlexp probe …` as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mixes import demonstrations, mix_of
from typed_commands import typed

from rlexp.__main__ import main

TINY = ("tracking=none", "hardware=cpu", "hardware.threads=1", "--rows", "6")


def test_the_default_runs_reward(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A probe that trains, a folder that is taken for a run, a model that is not asked."""
    assert main(["probe", *TINY]) == 0
    shown = capsys.readouterr().out.strip().splitlines()
    folder = here / shown[-1]
    assert {file.name for file in folder.iterdir()} == {"config.yaml", "probe.json"}
    content = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    assert content["prompts"] == 6 and content["warnings"] == []
    assert [earned["name"] for earned in content["earnings"][:2]] == [
        "reference answers",
        "the model's own answers",
    ]
    assert all(earned["interval"] for earned in content["earnings"])
    assert any(line.startswith("  the model's own answers") for line in shown)


def test_without_the_model_and_where_it_is_told(here: Path) -> None:
    """Seconds of torch for a reward of plain Python; a folder that was named and is not used."""
    words = ("probe", "--no-model", "--rows", "4", "hydra.run.dir=mine", "reward=length")
    done = typed(*words, folder=here)
    assert done.returncode == 0, done.stderr
    assert "the model's own" not in done.stdout and "by design: the length alone" in done.stdout
    assert done.stdout.strip().endswith("mine") and (here / "mine" / "probe.json").is_file()
    assert not (here / "outputs").exists()


def test_a_refusal_is_shown_and_ends_with_2(here: Path) -> None:
    """A script that goes on to train on what was refused."""
    code = (
        "def long(prompts, completions, **columns): return [float(len(c) > 9) for c in completions]"
    )
    (here / "my_long.py").write_text(code, encoding="utf-8")
    words = ("probe", "--no-model", "reward=python", "reward.function=my_long:long", "--rows", "4")
    done = typed(*words, "scoring.probe=refuse", folder=here)
    assert done.returncode == 2
    assert "! echo of the prompt" in done.stdout and "scoring.probe=warn" in done.stderr


def test_a_mix_has_a_table_for_each_source(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A strategy that pays on one source alone, hidden in the mean over all."""
    words = mix_of(here, a=demonstrations("A", 60), b=demonstrations("B", 60))
    assert main(["probe", "--no-model", "--rows", "4", "reward=length", *words]) == 0
    shown = capsys.readouterr().out
    assert "on 4 held-out prompts\n" in shown and "on 4 held-out prompts of b\n" in shown
    content = json.loads((here / shown.split()[-1] / "probe.json").read_text(encoding="utf-8"))
    assert content["prompts"] == 4 and list(content["sources"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["reward=lenth", "seed=-1"], ["Did you mean reward=length?", "seed: got -1"]),
        (["algo=sft", "reward=none"], ["reward: got none"]),
        (["--rows", "0"], ["--rows: got 0"]),
        (["-m", "seed=0,1"], ["-m: got a multirun"]),
        (["reward.target=3"], ["reward.target: got an unknown key"]),
    ],
)
def test_mistakes_are_told_before_torch(words: list[str], parts: list[str], here: Path) -> None:
    """Words that would be a mistake of a run, found late, one by one, or not at all."""
    done = typed("probe", *words, folder=here)
    assert done.returncode == 2
    for part in parts:
        assert part in done.stderr
    assert not (here / "outputs").exists()


def test_choices_of_the_users_own_folder(here: Path, capsys: Any) -> None:
    """`--config-dir`, which a run takes."""
    (here / "conf" / "reward").mkdir(parents=True)
    text = "# mine\ndefaults: [length, _self_]\nname: mine\ntarget: 3\n"
    (here / "conf" / "reward" / "mine.yaml").write_text(text, encoding="utf-8")
    words = ["probe", "--no-model", "--rows", "2", "--config-dir", "conf", "reward=mine"]
    assert main(words) == 0
    assert "What the reward mine pays" in capsys.readouterr().out
