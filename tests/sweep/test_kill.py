"""SIGKILL, Ctrl-C and SIGTERM at a sweep and its trials: nothing lost, repeated or left RUNNING."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from toy_sweeps import Toy, kill, until

from rlexp.sweep.ownership import RETRIES

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def params_of(toy: Toy) -> list[float]:
    return [trial.params["x"] for trial in toy.study.trials]


def test_trials_of_a_killed_sweep_end_by_themselves(toy: Toy) -> None:
    """A result that only the sweeper could have told; a trial that is begun a second time; the
    processes of the next trials, which wait for ever."""
    sweeper = toy.start("wait_for=gate")
    until(toy.begun(0, 1))
    kill(sweeper.pid)
    sweeper.wait()
    (toy.folder / "gate").touch()
    until(lambda: toy.states() == ["COMPLETE"] * 2)
    until(lambda: not toy.processes())
    toy.sweep("wait_for=gate")
    assert toy.states() == ["COMPLETE"] * 4
    assert [len(toy.attempts(number)) for number in range(4)] == [1, 1, 1, 1]


def test_a_sweep_waits_for_trials_that_a_killed_one_left_alive(toy: Toy) -> None:
    """Slots given away twice while orphans still run."""
    sweeper = toy.start("wait_for='gate{0}'")
    until(toy.begun(0, 1))
    kill(sweeper.pid)
    sweeper.wait()
    again = toy.start("wait_for='gate{0}'")
    for number in (0, 2, 3):
        (toy.folder / f"gate{number}").touch()
    until(toy.begun(0, 1, 2, 3))
    (toy.folder / "gate1").touch()
    again.communicate(timeout=60)
    assert toy.states() == ["COMPLETE"] * 4
    assert [len(toy.attempts(number)) for number in range(4)] == [1, 1, 1, 1]


def test_after_everything_was_killed_the_same_command_goes_on(toy: Toy) -> None:
    """A trial that stays RUNNING for ever, or whose parameters are lost with its process."""
    sweeper = toy.start("wait_for=gate")
    until(toy.begun(0, 1))
    kill(sweeper.pid)
    sweeper.wait()
    for number in (0, 1):
        kill(toy.attempts(number)[0][0])
    before = params_of(toy)
    assert toy.states() == ["RUNNING"] * 2
    (toy.folder / "gate").touch()
    toy.sweep("wait_for=gate")
    assert toy.states() == ["COMPLETE"] * 4
    assert params_of(toy)[:2] == before
    assert [trial.user_attrs.get(RETRIES, 0) for trial in toy.study.trials] == [1, 1, 0, 0]


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_ends_its_trials_and_can_be_gone_on_with(
    sign: signal.Signals, status: int, toy: Toy
) -> None:
    """Trials that live on after Ctrl-C, that stay RUNNING, or that have used up a retry."""
    sweeper = toy.start("wait_for=gate", "sweep.max_retries=0")
    until(toy.begun(0, 1))
    os.kill(sweeper.pid, sign)
    output, _ = sweeper.communicate(timeout=60)
    assert sweeper.returncode == status, output
    assert toy.states() == ["WAITING"] * 2
    for number in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(toy.attempts(number)[0][0], 0)
    before = params_of(toy)
    (toy.folder / "gate").touch()
    toy.sweep("wait_for=gate", "sweep.max_retries=0")
    assert toy.states() == ["COMPLETE"] * 4
    assert params_of(toy)[:2] == before


def test_a_trial_whose_sweeper_died_while_it_was_made_is_replaced(toy: Toy) -> None:
    """A trial without parameters, RUNNING for ever, that fills a slot or the budget."""
    import optuna

    toy.sweep("sweep.n_trials=1")
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{toy.folder}/swept/study.db")
    study.ask()
    toy.sweep("sweep.n_trials=2")
    assert toy.states() == ["COMPLETE", "FAIL", "COMPLETE"]
