"""`python -m rlexp rerun`: an earlier run's config, run again as it stands or with changes; and the
whole way there from a sweep, with its best trials confirmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from runs import SMALL, composed, rlexp, run_folder, run_here
from small_sweeps import dpo_sweep, ended, study_in
from stored_runs import StoredRuns
from typed_commands import typed

from rlexp.__main__ import main
from rlexp.builtin import tiny
from rlexp.spec.run import RunSpec
from rlexp.sweep.confirmation.ranking import confirmed_trials
from rlexp.sweep.study import read_study

GRID = ["sweep/sampler=grid", "sweep/pruner=none", "sweep.n_trials=2"]
SWEEP = [*GRID, "sweep.confirm=2", "sweep.confirm_best=2"]


def after(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))["after"]


def config_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two trials, each of them confirmed with two seeds."""
    tiny.ensure_tiny_model()
    folder = tmp_path_factory.mktemp("swept")
    (folder / "said").write_text(ended(dpo_sweep(folder, *SWEEP)), encoding="utf-8")
    return folder


def sweep_folder(swept: Path) -> Path:
    return swept / "multirun" / "dpo_basics"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the config of a run in it, which nobody has run."""
    folder = tmp_path_factory.mktemp("stored")
    text = yaml.safe_dump(composed("algo=dpo", *SMALL))
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_best_trial_comes_to_the_same_score_again(swept: Path) -> None:
    """Another trial's config; threads, a seed or a reward that got lost on the way."""
    study = study_in(swept)
    best = sweep_folder(swept) / "best.yaml"
    done = rlexp("rerun", str(best.relative_to(swept)), "tracking=none", folder=swept)
    folder = run_folder(done, swept)
    rerun = after(folder)
    assert rerun["reward"] == study.best_value
    assert rerun == after(sweep_folder(swept) / str(study.best_trial.number))
    assert config_of(folder)["name"] == f"dpo_basics-trial-{study.best_trial.number:03d}"
    assert len(study.trials) == 2


@pytest.mark.slow
def test_confirmed_trials_have_other_seeds_and_the_same_settings(swept: Path) -> None:
    """Seeds that are the trial's own; trials of the budget; a pruner or a setting that differs."""
    study = study_in(swept)
    values_by_trial = {
        confirmed.trial.number: confirmed.values for confirmed in confirmed_trials(study)
    }
    assert {number: list(values) for number, values in values_by_trial.items()} == {
        0: [1, 2],
        1: [1, 2],
    }
    for number, values in values_by_trial.items():
        own = config_of(sweep_folder(swept) / str(number))
        for seed, (value,) in values.items():
            folder = sweep_folder(swept) / f"confirm-{number}-{seed}"
            config = config_of(folder)
            assert (config["seed"], config["name"]) == (seed, folder.name)
            assert config["algo"] == own["algo"] and config["hardware"] == own["hardware"]
            assert after(folder)["reward"] == value
    assert len({value for values in values_by_trial.values() for (value,) in values.values()}) > 1


@pytest.mark.slow
def test_mlflow_has_them_below_the_sweep_and_the_report_among_its_artifacts(swept: Path) -> None:
    """Runs that stand alone, or pass for trials; a report that only the folder has."""
    client = MlflowClient(tracking_uri=f"sqlite:///{swept}/mlflow.db")
    experiment = client.get_experiment_by_name("rlexp")
    assert experiment
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("dpo_basics")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    confirmed = {name for name, run in runs.items() if run.data.tags.get("confirm") == "true"}
    assert confirmed == {"confirm-0-1", "confirm-0-2", "confirm-1-1", "confirm-1-2"}
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "best.yaml", "best-2.yaml"} <= files
    assert parent.data.metrics["sweep/complete"] == 2
    assert "seeds" in parent.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_the_same_command_confirms_nothing_twice(swept: Path) -> None:
    """Hours of runs that are there already; a seed more that begins all over again."""
    before = {card: card.stat().st_mtime_ns for card in sweep_folder(swept).glob("*/card.json")}
    output = ended(dpo_sweep(swept, *SWEEP))
    assert "confirming" not in output and "rlexp rerun multirun/dpo_basics/best.yaml" in output
    ended(dpo_sweep(swept, *GRID, "sweep.confirm=3", "sweep.confirm_best=1"))
    now = {card: card.stat().st_mtime_ns for card in sweep_folder(swept).glob("*/card.json")}
    new = {card.parent.name for card in now.keys() - before.keys()}
    assert new == {f"confirm-{study_in(swept).best_trial.number}-3"}
    assert {card: now[card] for card in before} == before
    assert read_study(str(sweep_folder(swept))).study_name == "dpo_basics"


@pytest.mark.slow
def test_report_finds_the_sweep_by_its_mlflow_run(swept: Path) -> None:
    """A sweep whose folder must be known; a report that MLflow keeps in its first state."""
    (sweep_folder(swept) / "report.html").unlink()
    client = MlflowClient(tracking_uri=f"sqlite:///{swept}/mlflow.db")
    experiment = client.get_experiment_by_name("rlexp")
    assert experiment
    (parent,) = client.search_runs([experiment.experiment_id], "tags.study = 'dpo_basics'")
    done = rlexp("report", parent.info.run_id[:12], folder=swept)
    assert done.returncode == 0, done.stderr
    assert (sweep_folder(swept) / "report.html").is_file()
    assert "has it among the artifacts" in done.stdout
    updated = client.get_run(parent.info.run_id)
    assert updated.info.status == "FINISHED"


@pytest.mark.slow
def test_a_run_comes_out_the_same(tmp_path: Path) -> None:
    """A rerun that takes today's defaults for what the run had."""
    tiny.ensure_tiny_model()
    first = run_here(tmp_path / "first", "algo=dpo", *SMALL, "eval.prompts=8", "algo.beta=0.7")
    rerun = run_folder(rlexp("rerun", "first", folder=tmp_path), tmp_path)
    assert after(rerun) == after(first) and config_of(rerun)["algo"]["beta"] == 0.7
    assert config_of(rerun)["tracking"]["tags"] == {"rerun_of": "first/config.yaml"}


def test_changes_are_made(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """An override without effect; a choice that is undone by a value typed before it, or that
    brings back what followed from the algorithm; a spec that is not that of the config."""
    ran: list[tuple[RunSpec, Path]] = []
    monkeypatch.setattr(
        "rlexp.launch.launcher.launch", lambda spec, folder, *_: ran.append((spec, folder))
    )
    monkeypatch.chdir(tmp_path)
    words = ["eval.prompts=9", "seed=3", "eval=default", "algo.trl.adam_beta2=0.9", "reward=mix"]
    words += ["guards=off"]
    assert main(["rerun", str(stored), *words]) == 0
    ((spec, folder),) = ran
    assert capsys.readouterr().out.strip() == str(folder)
    config, before = config_of(folder), config_of(stored)
    assert (config["seed"], config["eval"]["name"], config["eval"]["prompts"]) == (3, "default", 9)
    assert (spec.seed, spec.eval.name, spec.eval.prompts) == (3, "default", 9)
    assert config["reward"]["name"] == "mix" and spec.reward.name == "mix"
    assert spec.guards.watched() == ()
    assert config["algo"] == {**before["algo"], "trl": {"adam_beta2": 0.9}}
    assert config["data"] == before["data"] and config["train"] == before["train"]


def test_a_sweep_is_no_run(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep without its best that is told, and its trials that are not."""
    runs = StoredRuns(uri)
    runs.add("one trial", parent=runs.add_sweep("searched"))
    assert main(["rerun", "searched"]) == 2
    assert "python -m rlexp ls searched" in capsys.readouterr().err
    assert main(["ls", "searched"]) == 0
    assert "one trial" in capsys.readouterr().out


def test_all_mistakes_are_told_at_once(stored: Path) -> None:
    """A typo that is found after the model is loaded, one by one, or that is taken for a key."""
    words = ["algo.betaa=1", "seed=x", "eval=quik", "algo=ppo", "train.batch_size=0", "a.b=1", "~x"]
    done = typed("rerun", str(stored), *words, folder=stored)
    assert done.returncode == 2
    for message in (
        "Did you mean algo.beta?",
        "seed: got 'x'",
        "Did you mean eval=quick?",
        "algo: got ppo",
        "train.batch_size",
        "a: got an unknown key",
        "it is one run",
    ):
        assert message in done.stderr, done.stderr
    assert list(stored.iterdir()) == [stored / "config.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1\n- 2\n", "a file without keys"),
        ("a: [1", "cannot be read"),
        ("seed: 1\n", "model"),
    ],
)
def test_a_file_that_is_no_config(content: str, message: str, tmp_path: Path) -> None:
    """A traceback of yaml's for a shopping list."""
    (tmp_path / "other.yaml").write_text(content, encoding="utf-8")
    done = typed("rerun", "other.yaml", folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gone.yaml", "no such file"),
        ("outputs/gone", "no such file"),
        (".", "a folder without config.yaml"),
        ("abcd1234", "tracking.uri"),
    ],
)
def test_a_word_that_names_nothing(word: str, message: str, tmp_path: Path) -> None:
    """A folder without a config that is run with the defaults of today."""
    done = typed("rerun", word, folder=tmp_path)
    assert done.returncode == 2 and message in done.stderr, done.stderr


def test_a_mistake_of_the_stored_config_says_where_it_stands(tmp_path: Path) -> None:
    """A file that has moved since, told of as if the user had typed it."""
    old = composed("algo=dpo", *SMALL, "data=file", "data.path=pairs.jsonl")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old), encoding="utf-8")
    done = typed("rerun", "config.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "Relative paths begin" in done.stderr and "So it stands in config.yaml" in done.stderr
