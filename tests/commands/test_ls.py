"""The list of runs says what happened to each, in a width that a terminal has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from runs import rlexp
from stored_runs import StoredRuns
from tracking_spec import tracking_spec

from rlexp.__main__ import main
from rlexp.runtime.lock import lock
from rlexp.runtime.paths import CONF
from rlexp.tracking import Tracker


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The words of each line below the head."""
    capsys.readouterr()
    assert main(["ls", *words]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_line_tells_what_a_run_did(
    stored: StoredRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reward's first value is in no table of MLflow's: only its history has it."""
    run_id = stored.add("toy", rewards=((0, -0.04), (10, 0.5), (20, 0.93)))
    stored.add("bare", rewards=(), status="FAILED")
    failed, toy = listed(capsys)
    assert toy[:7] == [run_id[:8], "toy", "finished", "grpo", "tiny", "reviews", "-0.04→0.93"]
    assert toy[7:9] == ["30", "s"]
    assert (failed[1:3], failed[6]) == (["bare", "failed"], "–")


def test_a_sweep_is_one_line_until_asked(
    stored: StoredRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit counts lines: trials must not push other runs out of the list."""
    stored.add("alone")
    sweep = stored.add_sweep("swept")
    for number, algo in enumerate(("ppo", "dpo")):
        stored.add(
            f"t{number}", algo=algo, parent=sweep, rewards=((0, 0.1), (9, 0.4 + number / 10))
        )
    (first, *rest) = listed(capsys)
    assert " ".join(first[1:]).startswith(
        "swept (2 trials) finished 2 of them tiny reviews best 0.50"
    )
    assert [line[1] for line in rest] == ["alone"]
    assert [line[1] for line in listed(capsys, "--all")] == ["swept", "t1", "t0", "alone"]
    assert [line[1] for line in listed(capsys, "swept")] == ["t1", "t0"]
    assert [line[1] for line in listed(capsys, "swept", "algo=ppo")] == ["t0"]
    assert [line[1] for line in listed(capsys, "-n", "1")] == ["swept", "ones:"]


def test_filters_are_true_together(stored: StoredRuns, capsys: pytest.CaptureFixture[str]) -> None:
    """`algo=ppo status=FAILED` asks for PPO's failures, not for all PPO and all failures."""
    for name, algo, status in (
        ("a", "ppo", "FAILED"),
        ("b", "ppo", "FINISHED"),
        ("c", "dpo", "FAILED"),
    ):
        stored.add(name, algo=algo, status=status)
    assert [line[1] for line in listed(capsys, "algo=ppo", "status=FAILED")] == ["a"]
    assert main(["ls", "algo=dpo", "status=KILLED"]) == 0
    assert capsys.readouterr().out == "None of 3 runs has algo.name=dpo status=KILLED\n"
    assert main(["ls", "algo.bta=1"]) == 2
    assert "algo.name" in capsys.readouterr().err


def test_a_run_whose_process_is_gone_shows_as_dead(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow says RUNNING for ever of a run that was killed; a living one must not look dead."""
    folder = tmp_path / "outputs" / "1"
    with Tracker.open(tracking_spec(None), folder):
        pass
    spool = folder / "spool.jsonl"
    start = spool.read_text().splitlines()[0]
    spool.write_text(start + "\n")
    run_id = stored.add("toy", folder=folder, status="RUNNING")
    told = start.partition('"id":"')[2].partition('"')[0]
    stored.client.set_tag(run_id, "rlexp.spool", told)
    far, gone = {"host": "node7"}, {"host": platform.node()}
    stored.add("far", folder=folder, status="RUNNING", tags=far)
    stored.add("gone", folder=tmp_path / "gone", status="RUNNING", tags=gone)
    stored.add("mended", status="KILLED", tags={"state": "DIED"})
    stored.add("resumed", status="RUNNING", tags={"state": "DIED"})
    statuses = {line[1]: line[2] for line in listed(capsys)}
    dead = {"toy": "dead", "gone": "dead", "mended": "died"}
    assert statuses == {**dead, "far": "running", "resumed": "running"}
    with lock(folder):
        assert {line[1]: line[2] for line in listed(capsys)}["toy"] == "running"


def test_eighty_columns_hold_every_column(stored: StoredRuns, tmp_path: Path) -> None:
    """What a terminal folds is unreadable; names give way, numbers stay. Piped, nothing is cut."""
    long = "a very long name of a run [bold] with brackets, und Umlauten äöü"
    stored.add(long, algo="online_dpo", params={"x": "y"}, rewards=((0, -0.25), (20, -0.75)))
    narrow = rlexp("ls", folder=tmp_path, environment={"FORCE_COLOR": "1", "COLUMNS": "80"})
    lines = [line for line in narrow.stdout.splitlines() if "finished" in line]
    assert len(lines) == 1
    assert "-0.25→-0.75" in lines[0]
    assert "…" in lines[0]
    plain = rlexp("ls", folder=tmp_path, environment={"COLUMNS": "80"})
    assert long in plain.stdout
    assert "\x1b" not in plain.stdout
    assert max(map(len, plain.stdout.splitlines())) < 160


def test_nothing_to_list(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever types it first needs a command to go on with, not a stack trace or nothing."""
    assert main(["ls"]) == 0
    assert "python -m rlexp" in capsys.readouterr().out
    os.chdir(tmp_path.parent)
    (tmp_path / "elsewhere").mkdir()
    assert main(["ls", f"tracking.uri=sqlite:///{tmp_path}/elsewhere/mlflow.db"]) == 2
    assert "python -m rlexp" in capsys.readouterr().err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_list_of_local_runs_needs_no_mlflow(stored: StoredRuns) -> None:
    """Its import takes longer than the rest together, and a mistyped name needs none."""
    stored.add("toy")
    code = "import sys; from rlexp.__main__ import main; status = main(sys.argv[1:]); "
    code += "sys.exit(9 if {'mlflow', 'torch'} & set(sys.modules) else status)"
    for words, status in (["toy", "algo=grpo"], 0), (["nothing"], 2):
        command = [sys.executable, "-c", code, "ls", *words]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(CONF.parent)}, capture_output=True
        )
        assert done.returncode == status, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tracking.url=sqlite:///x.db"], "tracking.uri"),
        (["tracking.uri=null"], "wants"),
        (["tracking.experiment=rlxp"], "Did you mean rlexp?"),
        (["-n", "0"], "1 or more"),
        (["-n", "many"], "invalid int value"),
        (["--al"], "--help"),
    ],
)
def test_mistakes(
    stored: StoredRuns, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """argparse alone would exit with its own words, and an unknown key would be passed over."""
    assert main(["ls", *words]) == 2
    assert told in capsys.readouterr().err
