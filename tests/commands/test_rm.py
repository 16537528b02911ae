"""What is taken away is the run's, all of it, and nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from runs import rlexp
from stored_runs import StoredRuns
from tracking_spec import tracking_spec

from rlexp.__main__ import main
from rlexp.runtime.lock import lock
from rlexp.tracking import Tracker


def tracked(stored: StoredRuns, folder: Path, name: str = "toy", parent: str | None = None) -> str:
    """A run told by rlexp itself, with a checkpoint, a table and an artifact; its id."""
    weights = folder / "checkpoints" / "step-000003"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"x" * 5000)
    (folder / "config.yaml").write_text("seed: 7\n")
    spec = tracking_spec(stored.uri, name=name)
    with Tracker.open(spec, folder, parent=parent) as tracker:
        tracker.log({"eval/reward": 0.5}, 3)
        tracker.samples("samples", 3, [{"prompt": "Hi", "reward": 0.5}])
        tracker.checkpoint(3, weights, {"eval/reward": 0.5})
        assert tracker.run_id
    return tracker.run_id


def active(stored: StoredRuns) -> list[str]:
    runs = stored.client.search_runs([stored.experiment_id], order_by=["start_time"])
    return [run.info.run_name or "" for run in runs]


def models(stored: StoredRuns) -> list[str]:
    return [model.name for model in stored.client.search_logged_models([stored.experiment_id])]


def test_all_of_a_run_goes_and_nothing_of_another(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run, logged models, artifacts, folder: whatever is forgotten fills the disk for good."""
    folder, other = tmp_path / "outputs" / "ä b", tmp_path / "outputs" / "c"
    run_id, stays = tracked(stored, folder), tracked(stored, other, "other")
    before = sorted(path for path in other.rglob("*"))
    assert main(["rm", "outputs/ä b", "--yes"]) == 0
    told = capsys.readouterr().out
    assert f"{folder}: " in told
    assert "1 checkpoint" in told
    assert "1 logged model" in told
    assert active(stored) == ["other"]
    assert models(stored) == ["step-000003-other"]
    assert not folder.exists()
    assert [path.name for path in (tmp_path / "mlartifacts" / "rlexp").iterdir()] == [stays]
    assert sorted(path for path in other.rglob("*")) == before
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["c"]
    deleted = stored.client.search_runs([stored.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert [run.info.run_id for run in deleted] == [run_id]


def test_keep_folder(stored: StoredRuns, tmp_path: Path) -> None:
    """Weights that are still needed outlive their entry in MLflow."""
    folder = tmp_path / "outputs" / "1"
    tracked(stored, folder)
    assert main(["rm", "toy", "--yes", "--keep-folder"]) == 0
    assert active(stored) == []
    assert (folder / "checkpoints" / "step-000003" / "model.safetensors").is_file()


def test_a_living_run_stays(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process would go on writing into a folder that is gone; so for one on another machine."""
    folder = tmp_path / "outputs" / "1"
    tracked(stored, folder)
    stored.add("far", status="RUNNING", tags={"host": "node7"})
    with lock(folder):
        assert main(["rm", "toy", "far", "--yes"]) == 2
    told = capsys.readouterr().err
    assert f"toy: got a run that may be alive: {folder}" in told
    assert "node7" in told and "`python -m rlexp sync` there" in told
    assert active(stored) == ["far", "toy"]
    assert folder.is_dir()


def test_only_a_run_s_own_folder(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place is a tag that anybody may write: a folder of photographs must survive it."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("cat")
    run = tmp_path / "outputs" / "1"
    real = tracked(stored, run)
    stored.add("liar", folder=photos)
    stored.add("thief", folder=run)
    assert main(["rm", "liar", "thief", "--yes"]) == 0
    assert (photos / "cat.jpg").is_file()
    assert (run / "config.yaml").is_file()
    capsys.readouterr()
    moved = tmp_path / "moved"
    run.rename(moved)
    run.symlink_to(moved)
    assert main(["rm", real, "--yes"]) == 2
    assert "a link to" in capsys.readouterr().err
    run.unlink()
    moved.rename(run)
    (run / "config.yaml").unlink()
    assert main(["rm", real, "--yes"]) == 2
    told = capsys.readouterr().err
    assert "without config.yaml" in told and "--keep-folder" in told
    assert active(stored) == ["toy"]
    assert main(["rm", real, "--yes", "--keep-folder"]) == 0
    assert active(stored) == [] and run.is_dir()


def test_links_in_a_folder_are_not_followed(stored: StoredRuns, tmp_path: Path) -> None:
    """A run that was started with data linked into its folder must not take the data along."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.jsonl").write_text("{}")
    folder = tmp_path / "outputs" / "1"
    tracked(stored, folder)
    (folder / "data").symlink_to(data)
    assert main(["rm", "toy", "--yes"]) == 0
    assert (data / "rows.jsonl").is_file()
    assert not folder.exists()


def test_a_store_that_lies_about_artifacts(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server says where artifacts are; a client that believes it removes any folder it names."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("cat")
    run_id = stored.client.create_run(
        stored.client.create_experiment("liars", artifact_location=photos.as_uri()), run_name="liar"
    ).info.run_id
    stored.client.set_terminated(run_id)
    connection = sqlite3.connect(stored.uri.removeprefix("sqlite:///"))
    connection.execute("UPDATE runs SET artifact_uri=? WHERE name='liar'", [photos.as_uri()])
    connection.commit()
    connection.close()
    assert main(["rm", run_id, "--yes"]) == 0
    assert (photos / "cat.jpg").is_file()
    assert "Left where it is" in capsys.readouterr().err


def test_a_sweep_takes_its_trials_along(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trials without their sweep are lost in the list, and a sweep's folder holds them all."""
    swept = tmp_path / "multirun" / "s"
    swept.mkdir(parents=True)
    sweep = stored.add_sweep("swept", folder=str(swept))
    start = {
        "t": 1,
        "kind": "start",
        "id": sweep[::-1],
        "name": "swept",
        "parent": None,
        "tags": {},
    }
    (swept / "spool.jsonl").write_text(json.dumps(start, separators=(",", ":")) + "\n")
    (swept / "parent.json").write_text(json.dumps({"run_id": sweep}))
    for number in range(2):
        tracked(stored, swept / str(number), f"trial {number}", parent=sweep)
    stranger = swept / "7"
    with Tracker.open(tracking_spec(None, name="stranger"), stranger):
        pass
    assert main(["rm", "swept", "--yes"]) == 2
    assert "7" in capsys.readouterr().err
    assert len(active(stored)) == 3
    shutil.rmtree(stranger)
    assert main(["rm", "swept", "--yes"]) == 0
    assert "trial 0" in capsys.readouterr().out
    assert active(stored) == []
    assert not swept.exists()


def test_a_registered_model_keeps_its_run(
    stored: StoredRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model in use, without the run that it came from, cannot be explained any more."""
    run_id = tracked(stored, tmp_path / "outputs" / "1")
    stored.client.create_registered_model("polite")
    stored.client.create_model_version("polite", f"runs:/{run_id}/model", run_id=run_id)
    assert main(["rm", "toy", "--yes"]) == 2
    assert "polite, version 1" in capsys.readouterr().err
    assert active(stored) == ["toy"]


@pytest.mark.parametrize("step", ["folder", "models", "artifacts", "run"])
def test_an_interrupted_removal_is_finished_by_the_same_words(
    stored: StoredRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Half a run must still be found by its folder, which may be gone, and go entirely."""
    folder = tmp_path / "outputs" / "1"
    run_id = tracked(stored, folder)

    def interrupted(what: object, *arguments: object, **named: object) -> None:
        if isinstance(what, Path):
            (what / "config.yaml").unlink()  # the files go one by one
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        where = {
            "folder": "rlexp.tracking.query.removal.shutil.rmtree",
            "models": "mlflow.MlflowClient.delete_logged_model",
            "artifacts": "rlexp.tracking.query.removal._remove_artifacts",
            "run": "mlflow.MlflowClient.delete_run",
        }
        patched.setattr(where[step], interrupted)
        assert main(["rm", str(folder), "--yes"]) == 130
    assert active(stored) == ["toy"]
    assert main(["rm", str(folder), "--yes"]) == 0
    assert active(stored) == []
    assert models(stored) == []
    assert list((tmp_path / "outputs").iterdir()) == []
    assert not (tmp_path / "mlartifacts" / "rlexp" / run_id).exists()


def test_somebody_is_asked(
    stored: StoredRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe cannot say no; and whatever is not a yes is a no."""
    tracked(stored, tmp_path / "outputs" / "1")
    done = rlexp("rm", "toy", folder=tmp_path)
    assert (done.returncode, "--yes" in done.stderr) == (2, True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, left in (("", ["toy"]), ("nope", ["toy"]), ("Y", [])):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert main(["rm", "toy"]) == 0
        assert active(stored) == left
