"""Sweeps as they are typed: mistakes are told before the first trial, and presets can be run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typed_commands import typed

from rlexp.runtime.paths import CONF
from rlexp.spec.sweep import SweepSpec

PRESETS = sorted(file.stem for file in (CONF / "sweep").glob("*.yaml") if file.stem != "optuna")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["sweep=dpo_basic"], ["Did you mean sweep=dpo_basics?"], id="preset"),
        pytest.param(["sweep=optuna"], ["something to search"], id="no space"),
        pytest.param(["sweep=optuna", "algo.betaa=interval(0,1)"], ["algo.beta?"], id="key"),
        pytest.param(
            ["sweep=dpo_basics", "sweep.params.algo.betaa=interval(0,1)"],
            ["sweep.params.algo.betaa: got interval(0,1)", "by its own key"],
            id="a search below params",
        ),
        pytest.param(["sweep=dpo_basics", "algo.beta=interval(-1,1)"], ["above 0"], id="low end"),
        pytest.param(
            ["sweep=dpo_basics", "algo.label_smoothing=interval(0,0.9)"],
            ["below 0.5"],
            id="high end",
        ),
        pytest.param(
            ["sweep=dpo_basics", "algo.loss_type=choice([ipo],[ip])"], ["'ipo'"], id="a choice"
        ),
        pytest.param(["sweep=optuna", "algo=dpo,kt0"], ["Did you mean algo=kto?"], id="a group"),
        pytest.param(
            ["sweep=optuna", "algo=dpo,grpo", "train.batch_size=choice(60,64)"],
            ["a divisor", "algo=grpo"],
            id="two that do not go together",
        ),
        pytest.param(
            ["sweep=dpo_basics", "eval.every=0"],
            ["eval.every: got 0", "eval.every=5"],
            id="nothing to prune by",
        ),
        pytest.param(
            ["sweep=dpo_basics", "sweep.objective=eval/rewad"],
            ["Did you mean eval/reward?"],
            id="objective",
        ),
        pytest.param(
            ["sweep=pareto_reward_kl", "sweep/pruner=median"],
            ["sweep/pruner=none"],
            id="pruning with several objectives",
        ),
        pytest.param(
            ["sweep=dpo_basics", "sweep.direction=[maximize,minimize]"], ["2 for 1"], id="direction"
        ),
        pytest.param(["sweep=dpo_basics", "sweep.n_trial=3"], ["sweep.n_trials?"], id="setting"),
        pytest.param(
            ["sweep=dpo_basics", "sweep.sampler.n_startup=3"], ["n_startup_trials?"], id="argument"
        ),
        pytest.param(["sweep=dpo_basics", "sweep.storage=study.db"], ["sqlite:///"], id="storage"),
        pytest.param(["sweep=dpo_basics", "sweep/sampler=tpee"], ["tpe"], id="sampler"),
    ],
)
def test_a_mistake_is_told_before_the_first_trial(
    arguments: list[str], told: list[str], tmp_path: Path
) -> None:
    """A mistake that passes, is told without a remedy, or only after seconds of imports."""
    done = typed("-m", *arguments, folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    for words in told:
        assert words in done.stderr
    assert not (tmp_path / "multirun").exists()


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """A check that stops at the settings, or at the first parameter."""
    wrong = ["algo.beta=interval(-1,1)", "algo.betaa=1", "sweep.n_trials=0", "model=tiny,tinny"]
    done = typed("-m", "sweep=dpo_basics", *wrong, folder=tmp_path)
    for key in ("algo.beta: ", "algo.betaa: ", "sweep.n_trials: ", "model: got tinny"):
        assert key in done.stderr


def test_a_sweep_needs_the_flag_for_it(tmp_path: Path) -> None:
    """A preset that runs one plain run, and says nothing."""
    done = typed("sweep=dpo_basics", folder=tmp_path)
    assert done.returncode == 2 and "Add -m" in done.stderr


@pytest.mark.long
def test_a_data_base_that_does_not_answer_is_told_of(tmp_path: Path) -> None:
    """A sweep that waits for minutes; a password in the message."""
    storage = "sweep.storage=postgresql+psycopg://me:secret@127.0.0.1:9/study"
    done = typed("-m", "sweep=dpo_basics", storage, folder=tmp_path)
    assert "sweep.storage" in done.stderr and "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid(preset: str, tmp_path: Path) -> None:
    """A preset whose space, objective or pruner its own check refuses."""
    done = typed("-m", f"sweep={preset}", "sweep.n_trials=0", folder=tmp_path)
    assert "1 thing to put right" in done.stderr and "sweep.n_trials: got 0" in done.stderr


def test_keys_are_the_specs_fields() -> None:
    """A setting without its default, or a key of the yaml that nothing reads."""
    config = yaml.safe_load((CONF / "sweep" / "optuna.yaml").read_text(encoding="utf-8"))
    assert {*config["sweep"], "sampler", "pruner"} == set(SweepSpec.model_fields)
    silent = [name for name, field in SweepSpec.model_fields.items() if not field.description]
    assert silent == []
