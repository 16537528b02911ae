"""The wheel: it holds the config, and what is installed from it runs in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlexp.runtime.paths import CONF


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel, without the packages that it needs."""
    built, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built)]
    subprocess.run([*pip, *wheel, str(CONF.parent)], check=True)
    (file,) = built.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(file)],
        check=True,
    )
    return target


def typed(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rlexp", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_every_yaml_is_in_the_wheel(installed: Path) -> None:
    """A choice that works in a checkout only."""
    there = {file.relative_to(installed / "rlexp/conf") for file in installed.rglob("*.yaml")}
    assert there == {file.relative_to(CONF) for file in CONF.rglob("*.yaml")}


@pytest.mark.long
def test_it_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    """A path that is right only beside the sources; a template that was left out."""
    options = ["train.max_steps=1", "eval=quick", "tracking=none"]
    done = typed(installed, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / done.stdout.strip().splitlines()[-1]
    assert (folder / "card.html").stat().st_size > 1_000


@pytest.mark.long
def test_the_sweeper_is_found(installed: Path, tmp_path: Path) -> None:
    """Hydra's plugins, which it looks for in a folder of their own, left out of the wheel."""
    nowhere = "sweep.storage=postgresql+psycopg://127.0.0.1:9/study"
    done = typed(installed, tmp_path, "-m", "sweep=dpo_basics", nowhere)
    assert done.returncode == 2 and "sweep.storage" in done.stderr, done.stderr
