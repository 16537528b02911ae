"""Matching metrics, and knowing code and weights again."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import spec_of
from safetensors.numpy import save_file

from rlexp.builtin import tiny
from rlexp.reproduction.matching import compare_metrics, match_metric, overall_verdict
from rlexp.tracking.provenance import manifest
from rlexp.tracking.provenance.environment import GitState


class TestMatching:
    def test_the_last_bit_counts(self) -> None:
        """`isclose` in the place of equality."""
        value = 0.1
        found = match_metric(
            "train/loss", {1: value, 2: value}, {1: value, 2: math.nextafter(value, 1)}, whole=True
        )
        assert (found.verdict, found.parted) == ("closely", 2)
        assert found.absolute == pytest.approx(1.4e-17, rel=0.1)

    def test_no_number_is_the_same_as_no_number(self) -> None:
        """NaN, which a trainer logs where it had nothing to average, is unequal to itself."""
        assert match_metric("a", {1: math.nan}, {1: math.nan}, whole=True).parted is None
        one_side = match_metric("a", {1: math.nan}, {1: 0.0}, whole=True)
        assert (one_side.verdict, one_side.absolute) == ("differs", math.inf)

    def test_an_infinity_comes_back_from_mlflow_as_a_number(self) -> None:
        """MLflow stores the largest float in its place."""
        assert match_metric("a", {1: sys.float_info.max}, {1: math.inf}, whole=True).parted is None

    def test_a_millionth_is_close_and_more_is_not(self) -> None:
        """A bound on absolute differences, which calls small losses close."""
        assert match_metric("a", {1: 1e-9}, {1: 1e-9 * (1 + 9e-7)}, whole=True).verdict == "closely"
        assert match_metric("a", {1: 1e-9}, {1: 1e-9 * (1 + 2e-6)}, whole=True).verdict == "differs"

    def test_a_missing_point_is_a_difference(self) -> None:
        """Only steps that both have compared: a run that stops early would be the same."""
        assert match_metric("a", {1: 0.0, 2: 0.0}, {1: 0.0}, whole=True).parted == 2
        assert match_metric("a", {1: 0.0}, {1: 0.0, 2: 0.0}, whole=True).parted == 2

    def test_a_run_that_was_cut_short_is_compared_as_far_as_it_came(self) -> None:
        """A killed run that can never be reproduced."""
        then, now = {"a": {1: 0.5}}, {"a": {1: 0.5, 2: 0.25}, "b": {2: 1.0}}
        assert overall_verdict(compare_metrics(then, now, whole=False)) == "exactly"
        assert overall_verdict(compare_metrics(then, now, whole=True)) == "differs"

    def test_a_run_without_metrics_is_not_reproduced(self) -> None:
        """Nothing compared, hence nothing different."""
        assert overall_verdict([]) == "differs"


def git(folder: Path, *arguments: str) -> None:
    named = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_diff_brings_back_what_stood_in_the_checkout(tmp_path: Path) -> None:
    """A diff that git cannot apply, or without the new files that nobody has added yet."""
    (tmp_path / "code.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    clean = GitState.of(tmp_path)
    assert clean is not None
    assert (clean.diff, clean.status) == ("", [])
    (tmp_path / "code.py").write_text("a = 2\n")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "späte zeile.py").write_text("b = 3\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    code = GitState.of(tmp_path)
    assert code is not None
    assert code.restorable
    assert "?? new/" in code.status, "the user's own index has been changed"
    git(tmp_path, "clone", "-q", ".", "clone")
    clone = tmp_path / "clone"
    (clone / "was.diff").write_text(code.diff)
    git(clone, "apply", "was.diff")
    assert (clone / "code.py").read_text() == "a = 2\n"
    assert (clone / "new" / "späte zeile.py").read_text() == "b = 3\n"
    assert not (clone / "rows.jsonl").exists()


def test_a_diff_that_cannot_be_applied_says_so(tmp_path: Path) -> None:
    """A secret that was taken out of the diff, which would be applied with `***` in its place."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "x", "--allow-empty")
    (tmp_path / "code.py").write_text("hub_token = 'abcdef'\n")
    code = GitState.of(tmp_path)
    assert code is not None
    assert "abcdef" not in code.diff
    assert not code.restorable


def model(folder: Path, seed: int, size: int = 64) -> Path:
    """A folder as `save_pretrained` leaves it: the same names and shapes for every seed."""
    folder.mkdir(exist_ok=True)
    values = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    save_file({"w": values}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


class TestWeights:
    def test_another_model_in_the_same_place_is_recognised(self, tmp_path: Path) -> None:
        """A digest of names and sizes: models of one architecture agree in both."""
        first = manifest.describe_weights(model(tmp_path / "m", seed=0))["digest"]
        assert manifest.describe_weights(model(tmp_path / "m", seed=1))["digest"] != first
        assert manifest.describe_weights(model(tmp_path / "m", seed=0))["digest"] == first

    def test_the_same_model_in_another_place_is_the_same(self, tmp_path: Path) -> None:
        """A digest that takes the path, the date or a README in."""
        first = manifest.describe_weights(model(tmp_path / "m", seed=0))["digest"]
        moved = model(tmp_path / "elsewhere", seed=0)
        (moved / "README.md").write_text("A model card.")
        assert manifest.describe_weights(moved)["digest"] == first

    def test_large_files_are_told_apart_by_samples(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A sample of the header alone, in which models of one architecture agree."""
        monkeypatch.setattr(manifest, "_READ_WHOLE", 2**10)
        monkeypatch.setattr(manifest, "_BLOCK", 2**8)
        first = manifest.describe_weights(model(tmp_path / "m", seed=0, size=2**16))["digest"]
        assert (
            manifest.describe_weights(model(tmp_path / "m", seed=0, size=2**16))["digest"] == first
        )
        assert (
            manifest.describe_weights(model(tmp_path / "m", seed=1, size=2**16))["digest"] != first
        )


def test_files_and_folders_that_the_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat template or a model folder that changes unseen; a folder that happens to be called as
    an algorithm is, taken for a part of the run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grpo").mkdir()
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    folder = Path(shutil.copytree(tiny.ensure_tiny_model(), tmp_path / "m"))
    spec = spec_of("model=local", "model.path=m", "model.chat_template=chat.jinja", "tracking=none")
    found = manifest.collect_facts(spec, None)
    assert set(found["files"]) == {"model.chat_template"}
    assert found["folders"]["model.path"] == manifest.describe_weights(folder)
    assert set(found["folders"]) == {"model.path"}


def test_the_users_code_is_found_in_a_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that is one term of several; installed code copied as if it were theirs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def score(completions):\n    return [0.0 for _ in completions]\n"
    )
    term = (
        "{_target_: rlexp.rewards.python.Python, name: x, function: %s, parallel: false, weight: 1}"
    )
    mine, theirs = term % "'mine:score'", term % "'random:seed'"
    spec = spec_of("reward=mix", f"+reward.terms.a={mine}", f"+reward.terms.b={theirs}")
    assert manifest.user_sources(spec) == {"mine.py": (tmp_path / "mine.py").resolve()}
