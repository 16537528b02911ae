"""The loop of a sweep: its budget, its slots, trials that fail, and launchers of others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from toy_sweeps import Toy, until

from rlexp.sweep.ownership import ERROR, OVERRIDES, RETRIES
from rlexp.sweep.study import read_study


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.mark.long
def test_the_budget_is_met_and_each_trial_has_the_folder_of_its_number(toy: Toy) -> None:
    """A trial too many or too few; a folder under another trial's number; no place named; a study
    from which the best trial cannot be run again."""
    output = toy.sweep()
    assert toy.states() == ["COMPLETE"] * 4
    assert output.strip().splitlines()[-1] == "swept"
    for trial in toy.study.trials:
        ((_, x),) = toy.attempts(trial.number)
        assert float(x) == trial.params["x"] == trial.value
        assert trial.user_attrs[OVERRIDES] == [f"x={trial.params['x']}"]


@pytest.mark.slow
@pytest.mark.long
def test_the_same_command_adds_nothing_to_a_full_study(toy: Toy) -> None:
    """A sweep that begins anew, or repeats its last trial, where it should only tell."""
    toy.sweep("sweep.n_trials=2")
    assert "going on     2 trials have ended" in toy.sweep("sweep.n_trials=2")
    assert toy.states() == ["COMPLETE"] * 2


@pytest.mark.slow
@pytest.mark.long
def test_the_next_trial_starts_while_another_still_runs(toy: Toy) -> None:
    """Batches: here the first trial ends only after the last one has begun."""
    for number in (1, 2, 3):
        (toy.folder / f"gate{number}").touch()
    process = toy.start("wait_for='gate{0}'")
    until(toy.begun(0, 1, 2, 3))
    (toy.folder / "gate0").touch()
    process.communicate(timeout=60)
    assert toy.states() == ["COMPLETE"] * 4


@pytest.mark.slow
@pytest.mark.long
def test_the_next_trial_does_not_wait_for_the_last_process_to_leave(toy: Toy) -> None:
    """A slot that stays empty while a process frees its memory: here it waits for the next."""
    toy.sweep("sweep.n_jobs=1", "sweep.n_trials=2", "leaves_after=../1/attempts")
    assert toy.states() == ["COMPLETE"] * 2


@pytest.mark.long
def test_a_killed_trial_is_gone_on_with_in_its_own_folder(toy: Toy) -> None:
    """A dead trial that is lost, that is sampled anew, or that takes the sweep with it."""
    output = toy.sweep("ends=killed once")
    assert "died, killed by SIGKILL: will be gone on with" in output
    assert toy.states() == ["COMPLETE"] * 4
    first, second = toy.attempts(1)
    assert first[1] == second[1] and first[0] != second[0]
    assert toy.study.trials[1].user_attrs[RETRIES] == 1


@pytest.mark.long
def test_a_trial_that_always_dies_is_given_up_and_replaced(toy: Toy) -> None:
    """A sweep that tries for ever, or ends with a finished trial too few."""
    toy.sweep("ends=killed", "sweep.max_retries=1")
    assert toy.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert len(toy.attempts(1)) == 2
    assert "killed by SIGKILL" in toy.study.trials[1].user_attrs[ERROR]


@pytest.mark.long
def test_nan_is_a_failed_trial(toy: Toy) -> None:
    """A diverged trial that crashes the sweep, or that counts as a result."""
    toy.sweep("ends=diverges")
    assert toy.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert "NaN" in toy.study.trials[1].user_attrs[ERROR]


@pytest.mark.long
def test_a_sweep_whose_trials_all_fail_ends_and_says_why(toy: Toy) -> None:
    """An afternoon of trials that fail for one reason; a reason that stays in a log."""
    output = toy.sweep("ends=raises", status=1)
    assert "3 trials in a row failed" in output and "this trial fails" in output
    assert output.count("failed: ValueError") >= 3  # a line for each, the last one too
    assert set(toy.states()) <= {"FAIL", "WAITING"}
    assert "this trial fails" in (toy.folder / "swept/0/output.log").read_text()


@pytest.mark.long
def test_hopeless_trials_are_pruned_and_count(toy: Toy) -> None:
    """A pruner that is not asked, asked of another one's values, or whose trials are replaced."""
    pruner = ["sweep/pruner=median", "sweep.pruner.n_startup_trials=1"]
    toy.sweep("ends=pruned", "sweep.n_jobs=1", *pruner)
    assert toy.states() == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]


@pytest.mark.long
def test_a_task_that_only_returns_its_objectives_is_told_for(toy: Toy) -> None:
    """A sweeper that serves no function but its own; several objectives in the wrong order."""
    toy.sweep("ends=returns", "sweep.objective=[a,b]", "sweep.direction=[minimize,maximize]")
    for trial in toy.study.trials:
        assert trial.values == [trial.params["x"], -trial.params["x"]]


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.slow)])
@pytest.mark.long
def test_launchers_without_slots_get_batches(launcher: str, toy: Toy) -> None:
    """A launcher of Hydra's that is handed what only slots have; jobs under wrong numbers."""
    if launcher == "joblib" and not importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
        pytest.skip("hydra-joblib-launcher is not installed")
    toy.sweep(f"hydra/launcher={launcher}", "ends=diverges")
    assert toy.states().count("COMPLETE") == 4
    for trial in toy.study.trials:
        ((_, x),) = toy.attempts(trial.number)
        assert float(x) == trial.params["x"]


@pytest.mark.slow
@pytest.mark.long
def test_a_grid_is_tried_once(toy: Toy) -> None:
    """A grid whose order changes between trials repeats some combinations and misses others."""
    toy.sweep("sweep/sampler=grid", "x=0.1,0.2,0.3", "sweep.n_trials=9")
    assert sorted(trial.params["x"] for trial in toy.study.trials) == [0.1, 0.2, 0.3]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "cmaes", "gp", "nsga2"])
def test_each_sampler_can_be_chosen(sampler: str, toy: Toy) -> None:
    """A sampler's yaml with an argument that Optuna does not have; a package that is missing."""
    toy.sweep(f"sweep/sampler={sampler}", "ends=returns", "sweep.n_trials=3")
    assert toy.states() == ["COMPLETE"] * 3


@pytest.mark.slow
def test_an_interrupted_study_samples_what_an_uninterrupted_one_would(toy: Toy) -> None:
    """A sampler that begins with the same draws again whenever the sweep goes on."""
    one = ["sweep.n_jobs=1", "ends=returns"]
    toy.sweep(*one)
    whole = [trial.params for trial in toy.study.trials]
    parts = ["sweep.name=parts", "sweep.folder=parts", "sweep.storage=sqlite:///parts/study.db"]
    toy.sweep(*one, *parts, "sweep.n_trials=2")
    toy.sweep(*one, *parts)
    assert [trial.params for trial in read_study(str(toy.folder / "parts")).trials] == whole


@pytest.mark.slow
@pytest.mark.long
def test_another_space_or_direction_needs_another_name(toy: Toy) -> None:
    """Results of two questions mixed in one study; a refusal that does not say which differ."""
    toy.sweep("sweep.n_trials=1")
    output = toy.sweep("sweep.direction=maximize", "x=interval(0,2)", "ends=diverges", status=2)
    for words in (
        "sweep.direction: got maximize",
        "interval(0,1)",
        "ends: got diverges",
        "sweep.name=",
    ):
        assert words in output
    assert len(toy.study.trials) == 1


def test_arguments_that_sampler_or_pruner_refuse_are_told_before_the_first_trial(toy: Toy) -> None:
    """A mistake that shows after the first trial, as a traceback."""
    output = toy.sweep("sweep/sampler=grid", "+sweep.pruner.patience=1", status=2)
    assert "x: got interval(0,1)" in output and "NopPruner() takes no arguments" in output
    assert not (toy.folder / "swept/0").exists()


@pytest.mark.slow
@pytest.mark.long
def test_studies_with_neighbouring_seeds_sample_differently(toy: Toy) -> None:
    """A second study that tries what the first one tried, one trial later."""
    storage = "sweep.storage=sqlite:///other/study.db"
    toy.sweep("sweep.seed=0")
    toy.sweep("sweep.seed=1", "sweep.name=other", "sweep.folder=other", storage)
    other = read_study(str(toy.folder / "other"))
    first, second = ({each.params["x"] for each in study.trials} for study in (toy.study, other))
    assert len(first | second) == 8
