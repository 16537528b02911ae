"""`python -m rlexp report`: the study that is meant is found, and mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from some_studies import confirm, searched, trial_folder
from stored_runs import StoredRuns
from typed_commands import typed

from rlexp.__main__ import main


def study_here(folder: Path) -> optuna.Study:
    sweep = folder / "multirun" / "some"
    sweep.mkdir(parents=True)
    study = searched(6, storage=f"sqlite:///{sweep}/study.db")
    for trial in study.trials:
        trial_folder(sweep, trial.number)
    return study


@pytest.mark.parametrize("word", ["some", pytest.param("multirun/some", marks=pytest.mark.slow)])
@pytest.mark.long
def test_finds_the_study(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A name that is looked for in MLflow only; a second study in the file that hides it."""
    study = study_here(tmp_path)
    confirm(study, {0: [0.1, 0.2]})
    monkeypatch.chdir(tmp_path)
    assert main(["report", word, "--html", "page.html"]) == 0
    output = capsys.readouterr().out
    assert "python -m rlexp rerun multirun/some/best.yaml" in output and "page.html" in output
    assert "eval/reward" in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.long
def test_finds_it_by_its_data_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of several machines, which has no folder here, without a report."""
    storage = f"sqlite:///{tmp_path}/studies.db"
    study = searched(6, storage=storage, name="ours")
    study.set_user_attr("folder", "/elsewhere/multirun/ours")
    searched(6, storage=storage, name="theirs")
    monkeypatch.chdir(tmp_path)
    words = ["report", "ours", f"sweep.storage={storage}"]
    assert main(words) == 2
    assert main([*words, "--html", "page.html"]) == 0
    assert "<title>ours" in Path("page.html").read_text(encoding="utf-8")


def test_what_mlflow_knows_and_is_no_study_here(
    stored: StoredRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run, or a sweep of another machine, without a word on what can be typed."""
    stored.add("toy run")
    sweep = stored.add_sweep("far", folder="/elsewhere/multirun/far")
    assert main(["report", "toy run"]) == 2
    assert "python -m rlexp compare 'toy run' …" in capsys.readouterr().err
    assert main(["report", sweep]) == 2
    assert "sweep.storage=postgresql://… or sqlite:///FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sme"], "Did you mean some?"),
        (["multirun"], "a folder without a study"),
        (["some", "--html", "page.pdf"], "must look like a page"),
        (["some", "--html", "no/page.html"], "mkdir -p no"),
        ([], "python -m rlexp report"),
    ],
)
def test_a_mistake_is_told_before_anything_heavy(
    words: list[str], message: str, tmp_path: Path
) -> None:
    """A traceback of Optuna's, after seconds of imports."""
    study_here(tmp_path)
    done = typed("report", *words, folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr, done.stderr
