"""docs/rewards.md: the table that is rendered, and the examples that are written by hand."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from runs import composed, rlexp

from rlexp.rewards.mix import Mix
from rlexp.runtime.paths import CONF

DOCS = CONF.parent / "docs"
PAGE = (DOCS / "rewards.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?m)(?:^ {4}.*\n|^\n(?= {4}))+", PAGE)]


def block(beginning: str) -> str:
    return next(text for text in BLOCKS if text.lstrip().startswith(beginning))


def test_the_table_is_what_the_code_says() -> None:
    """A reward that nobody finds; a range that has changed."""
    script = runpy.run_path(str(DOCS / "render_rewards.py"))
    assert script["rendered"](PAGE) == PAGE, "python docs/render_rewards.py"
    assert all(f"| `{file.stem}` |" in PAGE for file in (CONF / "reward").glob("*.yaml"))


def test_the_mix_on_the_command_line_composes() -> None:
    """Overrides that Hydra refuses: a + too many or too few."""
    words = block("python -m rlexp reward=mix").replace("\\\n", " ").split()[3:]
    reward = composed(*words)["reward"]
    mix = Mix(**{key: value for key, value in reward.items() if key != "_target_"})
    assert mix.problems() == []
    assert set(mix.terms) == {"sentiment", "polite"}


@pytest.mark.parametrize("choice", ["shouting", "mine"])
def test_the_files_that_it_shows_are_taken(choice: str, tmp_path: Path) -> None:
    """A class that lacks what the base wants; a yaml whose terms land beside the mix."""
    shown = block("# my_rewards.py")
    module, _, config = shown.partition("# reward/shouting.yaml")
    (tmp_path / "my_rewards.py").write_text(module, encoding="utf-8")
    (tmp_path / "reward").mkdir()
    (tmp_path / "reward" / "shouting.yaml").write_text("#" + config, encoding="utf-8")
    config = "# Mine\n" + block("defaults:")
    (tmp_path / "reward" / "mine.yaml").write_text(config, encoding="utf-8")
    data = ["data=gsm8k"] if choice == "mine" else []
    done = rlexp("--config-dir", ".", f"reward={choice}", *data, "--cfg", "job", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"name: {choice}" in done.stdout


def test_its_class_scores(tmp_path: Path) -> None:
    """An example that cannot be called."""
    module = block("# my_rewards.py").partition("# reward/shouting.yaml")[0]
    (tmp_path / "my_rewards.py").write_text(module, encoding="utf-8")
    shout = "Shouting(name='s', least=0.5)([''] * 2, ['AB', 'abcD'])"
    code = f"from my_rewards import Shouting; print({shout})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1.0, 0.5]"
