"""Checkpoints that were cut off, that the disk did not take, and the best one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from killed_runs import SIX, assert_same, cut_after, events_of, points_of, resume_here
from runs import rlexp, run_here, spec_of

from rlexp.evaluation.results import Evaluation
from rlexp.runtime.checkpoints import complete_checkpoints, is_complete
from rlexp.spec.errors import UserError


def test_a_checkpoint_that_was_cut_off_is_passed_over(
    whole: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A power cut: half a file, which would be loaded, or a folder that is never removed."""
    killed = cut_after(whole, here / "killed", step=4)
    newest = killed / "checkpoints" / "step-000004"
    os.truncate(newest / "model.safetensors", 1000)
    (killed / "checkpoints" / "checkpoint-5").mkdir()
    assert resume_here(killed) == 0
    said = capsys.readouterr().out
    assert "step-000004 was cut off" in said
    assert "on from step-000002" in said
    assert_same(killed, whole)
    assert not (killed / "checkpoints" / "checkpoint-5").exists()


@pytest.mark.parametrize("lost", ["complete.json", "model.safetensors", "optimizer.pt"])
def test_a_checkpoint_is_complete_with_all_its_files(lost: str, whole: Path, here: Path) -> None:
    """A folder that has its final name, but not what belongs into it."""
    checkpoint = Path(shutil.copytree(whole / "checkpoints" / "step-000002", here / "step-000002"))
    assert is_complete(checkpoint)
    (checkpoint / lost).unlink()
    assert not is_complete(checkpoint)


@pytest.mark.long
def test_without_a_checkpoint_the_same_run_begins_again(whole: Path, here: Path) -> None:
    """A run that cannot go on, or a second evaluation before training."""
    killed = cut_after(whole, here / "killed", step=0)
    before = (killed / "evaluations" / "step-000000.json").stat()
    assert resume_here(killed) == 0
    assert_same(killed, whole)
    after = (killed / "evaluations" / "step-000000.json").stat()
    assert after.st_mtime_ns == before.st_mtime_ns


def test_a_run_that_died_after_its_last_step_trains_no_further(whole: Path, here: Path) -> None:
    """transformers trains one step more than asked when it starts at the last one."""
    killed = cut_after(whole, here / "killed", step=4)
    shutil.rmtree(killed / "checkpoints")
    shutil.copytree(whole / "checkpoints", killed / "checkpoints")
    later = list(events_of(whole))[len(list(events_of(killed))) :]
    events = [e for e in later if e["kind"] == "metrics" and "eval/kl" not in e["metrics"]]
    with (killed / "spool.jsonl").open("a", encoding="utf-8") as spool:
        spool.writelines(json.dumps(event) + "\n" for event in events)
    assert resume_here(killed) == 0
    assert_same(killed, whole)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(here: Path) -> None:
    """A traceback of three libraries, a checkpoint cut in half, or a run that cannot go on when
    there is room again."""
    (here / "limited.py").write_text(
        "import pathlib, resource\n"
        "def score(completions, **columns):\n"
        "    full = pathlib.Path('full').exists()\n"
        "    if full and pathlib.Path('run/checkpoints/step-000002').exists():\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "    return [float(len(each)) for each in completions]\n",
        encoding="utf-8",
    )
    (here / "full").touch()
    ours = ["reward=python", "reward.function=limited:score", "eval.every=0"]
    done = rlexp(*SIX, *ours, "hydra.run.dir=run", folder=here)
    folder = here / "run"
    assert done.returncode == 1, done.stderr
    assert "the checkpoint of step 4 could not be written" in done.stderr
    assert "goes on from step 2" in done.stderr
    assert done.stderr.strip().endswith(f"python -m rlexp resume {folder}")
    assert list(events_of(folder))[-1]["status"] == "FAILED"
    assert [each.name for each in (folder / "checkpoints").glob("*-*")] == ["step-000002"]
    (here / "full").unlink()
    assert resume_here(folder) == 0
    assert json.loads((folder / "card.json").read_text())["status"] == "FINISHED"


@pytest.mark.long
def test_the_best_checkpoint_stays(here: Path) -> None:
    """A best checkpoint that is removed as an old one, the worst taken for it, one that MLflow
    believes to be there still."""
    best = ["train.best_metric=eval/kl", "train.best_mode=min", "train.keep_checkpoints=1"]
    folder = run_here(here / "run", *SIX, *best)
    values = {
        step: float(v[0]) for (name, step), v in points_of(folder).items() if name == "eval/kl"
    }
    found = json.loads((folder / "checkpoints" / "best.json").read_text())
    assert values[2] < min(values[4], values[6])
    assert found == {"step": 2, "metric": "eval/kl", "value": values[2], "folder": "step-000002"}
    kept = [each.name for each in complete_checkpoints(folder / "checkpoints")]
    assert kept == ["step-000002", "step-000006"]
    events = list(events_of(folder))
    gone = [Path(event["path"]).name for event in events if event["kind"] == "removed"]
    assert gone == ["step-000004"]
    tags = {k: v for event in events if event["kind"] == "tags" for k, v in event["tags"].items()}
    assert tags["best"].startswith("eval/kl")
    notes = json.loads((folder / "card.json").read_text())["notes"]
    assert any("at step 2 (checkpoints/step-000002)" in note for note in notes)


def test_a_metric_that_is_unknown_at_checkpoints_is_told_at_once(here: Path) -> None:
    """A best checkpoint that is none, found out when the run has ended."""
    with pytest.raises(UserError, match=r"Set eval.every=10: it is train.checkpoint_every."):
        spec_of("train.best_metric=eval/reward", "eval.every=4")
    with pytest.raises(UserError, match=r"a tracked metric, such as eval/reward"):
        spec_of("train.best_metric=reward")
    with pytest.raises(UserError, match=r"Did you mean rollout/reward\?"):
        run_here(here / "run", *SIX, "train.best_metric=rollout/rewart")
    assert not (here / "run" / "checkpoints" / "step-000002").exists()


def test_an_evaluation_comes_back_from_its_file(whole: Path) -> None:
    """A digit that is lost, or a tuple that comes back as a list."""
    file = whole / "evaluations" / "step-000000.json"
    evaluation = Evaluation.from_json(file)
    copy = whole / "evaluations" / "copy.json"
    evaluation.to_json(copy)
    assert Evaluation.from_json(copy) == evaluation
    copy.unlink()
    points = points_of(whole).items()
    told = {name: float(v[0]) for (name, at), v in points if at == 0 and name.startswith("eval/")}
    assert told == {f"eval/{name}": value for name, value in evaluation.metrics.items()}
