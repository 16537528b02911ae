"""Installing: ranges, tested versions, extras and the Makefile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlexp.runtime.extras import MODULES, pinned_versions, requirements
from rlexp.runtime.paths import CONF

ROOT = CONF.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda each: each.name)
def test_a_range_admits_the_tested_version(requirement: Requirement) -> None:
    """Constraints and ranges that pip cannot satisfy together."""
    tested = pinned_versions()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(tested)


@pytest.mark.parametrize(
    ("package", "version"),
    [("torch", "2.11.0"), ("transformers", "5.17.0"), ("accelerate", "1.15.0")],
)
def test_ranges_keep_a_gpu_images_own_packages(package: str, version: str) -> None:
    """A range narrowed by habit, which replaces the torch of an image by gigabytes of another."""
    found = {each.name: each.specifier for each in requirements()}
    assert found[package].contains(version)


def test_every_extra_can_be_seen_by_the_doctor() -> None:
    """An extra that was added to the project only."""
    assert set(MODULES) == set(PROJECT["optional-dependencies"]) - {"dev"}


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the Makefile looks at, in a folder of their own."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


class TestMakefile:
    def test_without_a_target_it_shows_them_all(self, checkout: Path) -> None:
        """A target that nobody finds; an installation that nobody asked for."""
        shown = make(checkout).stdout
        for target in ("help", "run", "test", "check", "ui", "clean"):
            assert f"make {target} " in shown
        assert not (checkout / ".venv").exists()

    def test_installs_only_when_what_it_needs_has_changed(self, checkout: Path) -> None:
        """A minute of pip before every run; a new dependency that never arrives."""
        (checkout / ".venv").mkdir()
        stamp = checkout / ".venv" / "installed"
        stamp.touch()
        assert "pip install" not in make(checkout, "-n", "run").stdout
        for name in ("pyproject.toml", "constraints.txt"):
            later = stamp.stat().st_mtime + 10
            os.utime(checkout / name, (later, later))
            assert "pip install" in make(checkout, "-n", "run").stdout
            os.utime(checkout / name, (0, 0))

    def test_passes_arguments_on(self, checkout: Path) -> None:
        """`make run ARGS=…` that runs the defaults."""
        shown = make(checkout, "-n", "run", "ARGS=algo=dpo -m seed=1,2").stdout
        assert "python -m rlexp algo=dpo -m seed=1,2" in shown

    def test_an_old_python_is_told_of_at_once(self, checkout: Path) -> None:
        """A syntax error from deep inside, after an installation."""
        old = checkout / "python-old"
        old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
        old.chmod(0o755)
        done = make(checkout, "run", "PYTHON=./python-old")
        assert done.returncode != 0
        assert "needs Python 3.11 or newer; ./python-old is Python 3.9.2" in done.stderr
        assert not (checkout / ".venv").exists()
