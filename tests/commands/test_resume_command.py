"""`python -m rlexp resume`: what keeps a run from going on, said at once and before torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from killed_runs import cut_after, events_of, resume_here
from runs import SMALL
from tracking_spec import tracking_spec
from typed_commands import typed

from rlexp.runtime.lock import lock
from rlexp.tracking import Tracker


def test_all_that_keeps_a_run_from_going_on_is_said_at_once(whole: Path, here: Path) -> None:
    """A typo, or another learning rate, that is found after the model is loaded, one by one."""
    words = ["train.max_stepz=9", "algo.learning_rate=1", "eval.every=x", "algo=dpo", "eval=quik"]
    done = typed("resume", str(whole), *words, folder=here)
    assert done.returncode == 2
    for told in (
        "Did you mean train.max_steps?",
        "algo.learning_rate: got 1",
        "with which the run began",
        "eval.every: got 'x'",
        "algo: got dpo",
        "Did you mean eval=quick?",
        "5 things to put right",
    ):
        assert told in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "a run that has finished, at step 6"),
        (["train.max_steps=6"], "a run that has finished, at step 6"),
        (["train.max_steps=3"], "more than 6, which the run has finished"),
        (["~eval"], "it is one run"),
        (["train.max_steps=7,8"], "it is one run"),
    ],
)
def test_a_finished_run_wants_more_steps(
    words: list[str], told: str, whole: Path, here: Path
) -> None:
    """A finished run that is evaluated once more, or is marked as FAILED by a wrong command."""
    done = typed("resume", str(whole), *words, folder=here)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert list(events_of(whole))[-1]["status"] == "FINISHED"


def test_a_folder_without_a_run_is_told_of(here: Path) -> None:
    """A traceback, or an empty spool made in a folder that was misspelled."""
    done = typed("resume", str(here), folder=here)
    assert done.returncode == 2
    assert "in which no run has begun" in done.stderr
    assert not (here / "spool.jsonl").exists()


def test_a_run_that_is_alive_is_left_alone(whole: Path, here: Path) -> None:
    """Two processes that write into the same checkpoints."""
    killed = cut_after(whole, here / "killed", step=4)
    with lock(killed):
        done = typed("resume", str(killed), folder=here)
    assert done.returncode == 2
    assert f"process {os.getpid()}" in done.stderr


def test_other_data_are_noticed_before_anything_is_recorded(whole: Path, here: Path) -> None:
    """A run that goes on with data that were changed meanwhile, or is FAILED by the attempt."""
    killed = cut_after(whole, here / "killed", step=4)
    spool = killed / "spool.jsonl"
    text = spool.read_text(encoding="utf-8")
    digest = next(e["digest"] for e in events_of(killed) if e["kind"] == "dataset")
    spool.write_text(text.replace(digest, digest[::-1]), encoding="utf-8")
    before = spool.read_bytes()
    assert resume_here(killed) == 2
    assert spool.read_bytes() == before


def test_a_folder_that_holds_a_run_takes_no_other(whole: Path, here: Path) -> None:
    """A second run whose steps are mixed with the first one's."""
    shutil.copytree(whole, here / "run")
    done = typed("hydra.run.dir=run", *SMALL, folder=here)
    assert done.returncode == 2
    assert "go on: python -m rlexp resume" in done.stderr


def test_a_trial_stays_in_its_sweep(here: Path) -> None:
    """A trial that leaves its sweep, or takes another name, when it is gone on with."""
    spec = tracking_spec(None)
    with Tracker.open(spec, here / "0", parent="the sweep"):
        pass
    with Tracker.open(spec, here / "0"):
        pass
    first, second = (event for event in events_of(here / "0") if event["kind"] == "start")
    assert second == {**first, "t": second["t"], "resumed": True}
