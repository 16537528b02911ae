"""What people type at Hydra: texts with special characters, configs of their own, variables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typed_commands import typed

from rlexp.__main__ import main
from rlexp.config.hydra import parse_override
from rlexp.spec.errors import UserError

EARLIER = Path(__file__).parents[1] / "whole_runs" / "earlier_runs"


@pytest.mark.parametrize(
    "text",
    [
        "#one",
        "größe",
        "中文",
        "a=b",
        "it's",
        "~/a b=1.csv",
        r"^\d+(?:a|b)$",
        'say "no"',
        "a&b",
        "a\\",
    ],
)
def test_a_text_needs_no_quotes_beside_the_shells(text: str) -> None:
    """Hydra's grammar has no place for some characters; a text that loses one on the way."""
    override = parse_override(f"name={text}")
    value = override.value()
    assert (getattr(value, "text", value), override.key_or_group) == (text, "name")
    again = parse_override(str(override.input_line))  # as Hydra gets it
    assert again.value() == value


@pytest.mark.parametrize("text", ["seed=[1", "train={a", "name=choice(a,b", "name='a", "alone"])
def test_what_is_broken_off_is_no_text(text: str) -> None:
    """A list without its bracket that is taken for a text."""
    with pytest.raises(UserError):
        parse_override(text)


def test_a_text_reaches_the_run_as_it_was_typed(tmp_path: Path) -> None:
    """Quotes or backslashes that are put in on the way to Hydra."""
    pattern = r'^\d+ (?:"a"|b)\\$'
    words = ["reward=format", f"reward.pattern={pattern}", "name=größe=1", "--cfg", "job"]
    done = typed(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert (shown["name"], shown["reward"]["pattern"]) == ("größe=1", pattern)


EXPERIMENTS = {
    "right": "# @package _global_\ndefaults:\n  - override /algo: dpo\ntrain:\n  max_steps: 3\n",
    "typo": "# @package _global_\ntrain:\n  max_stepz: 3\n",
    "unplaced": "train:\n  max_steps: 3\n",
    "broken": "# @package _global_\ntrain:\n  max_steps: [3\n",
    "tabs": "# @package _global_\ntrain:\n\tmax_steps: 3\n",
    "missing": "# @package _global_\ndefaults:\n  - override /reward: lenght\n",
}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["experiment=typo"], ["train.max_stepz", "Did you mean train.max_steps?"]),
        (["experiment=unplaced"], ["# @package _global_"]),
        (["experiment=broken"], ["experiment/broken.yaml:4", "got expected ',' or ']'"]),
        (["experiment=tabs"], ["experiment/tabs.yaml:3", "'\\t'"]),
        (["experiment=missing"], ["experiment=missing: got reward: lenght", "reward: length?"]),
        (["experiment.algo=dpo"], ["without `experiment.`"]),
        (["name=${oc.env:RLEXP_NONE}"], ["name: got", "export RLEXP_NONE=", "RLEXP_NONE,DEFAULT"]),
        (["name=${algo.nam}"], ["name: got Interpolation key 'algo.nam'"]),
        (["name=${hydra:job.name}"], ["name: got ${hydra:…}"]),
        (["name=${eval:1+1}"], ["name: got Unsupported interpolation type eval"]),
        (["reward=null"], ["Leave reward=null away, or type reward=none"]),
        (["+hydra/launcher=joblib"], ["Type hydra/launcher=joblib"]),
        (
            ["hydra.runn.dir=x"],
            ["Could not override 'hydra.runn.dir'", "Leave hydra.runn.dir=x away"],
        ),
        (["--experimental-rerun", "x.pickle"], ["can run code", "python -m rlexp rerun"]),
    ],
)
def test_a_mistake_in_a_config_is_told(words: list[str], told: list[str], tmp_path: Path) -> None:
    """A traceback of Hydra's, yaml's or omegaconf's; a message without file, line or key."""
    for name, text in EXPERIMENTS.items():
        file = tmp_path / "my configs" / "experiment" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    done = typed("--config-dir", "my configs", *words, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert [words for words in told if words not in done.stderr] == [], done.stderr


def test_an_experiment_of_ones_own_is_taken(tmp_path: Path) -> None:
    """A folder of configs beside rlexp's that only Hydra's own main finds."""
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "right.yaml").write_text(EXPERIMENTS["right"], encoding="utf-8")
    words = ["--config-dir", "mine", "experiment=right", "--cfg", "job", "--resolve"]
    done = typed(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert (shown["algo"]["name"], shown["train"]["max_steps"]) == ("dpo", 3)


@pytest.mark.parametrize("place", ["file/run", "/proc/no/run"])
def test_a_run_folder_that_cannot_be_made_is_a_mistake(place: str, tmp_path: Path) -> None:
    """Hydra's traceback in a folder where nobody may write."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = typed(f"hydra.run.dir={place}", "tracking=none", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "hydra.run.dir: got" in done.stderr
    assert "hydra.run.dir=FOLDER" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_a_run_is_no_other_runs(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs in one folder; a remedy that names another folder than the one that was typed."""
    place = here / "a run"
    shutil.copytree(EARLIER / "killed", place)
    before = (place / "spool.jsonl").read_bytes()
    assert main([f"hydra.run.dir='{place}'", "tracking=none"]) == 2
    assert f"python -m rlexp resume '{place}'" in capsys.readouterr().err
    assert (place / "spool.jsonl").read_bytes() == before


def test_a_mistake_in_the_data_is_told_alone(tmp_path: Path) -> None:
    """Hydra's own line before the message, or a traceback where the run's folder is elsewhere."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "cut.jsonl").write_text('{"prompt": "a", "comp', encoding="utf-8")
    words = ["algo=sft", "data=file", "data.path=cut.jsonl", "reward=none", "tracking=none"]
    done = typed(*words, f"hydra.run.dir={tmp_path}/there/x", folder=tmp_path / "here")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("rlexp: 1 thing to put right")
    assert not (tmp_path / "there" / "x").exists()
