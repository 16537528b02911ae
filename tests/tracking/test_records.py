"""Runs are found by what people type, and never by what merely looks like it."""

from __future__ import annotations

import math
import os
import shutil
import socket
import sqlite3
import threading
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from stored_runs import BEGAN, StoredRuns

from rlexp.runtime.run_folder import SENT
from rlexp.spec.errors import UserError
from rlexp.tracking.query import records as records_module
from rlexp.tracking.query.conditions import RunFilter
from rlexp.tracking.query.records import Records
from rlexp.tracking.query.sources import ClientSource
from rlexp.tracking.spool.spool import UploadState
from rlexp.tracking.store.read_only import open_read_only


@pytest.fixture(autouse=True, params=["file", "client"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading, of which a SQLite file needs only the faster one."""
    if request.param == "client":
        monkeypatch.setattr(
            records_module, "_source", lambda uri: ClientSource(open_read_only(uri), uri)
        )
    return request.param


def names(stored: StoredRuns, *words: str) -> list[str]:
    with Records.open(stored.uri) as records:
        return [record.name for record in records.find(words)]


def message(stored: StoredRuns, *words: str) -> str:
    with pytest.raises(UserError) as raised:
        names(stored, *words)
    return str(raised.value)


def test_a_record_tells_what_mlflow_knows(stored: StoredRuns) -> None:
    """Statuses, times and tags have names of MLflow's own, and each can be taken for another."""
    sweep = stored.add_sweep("sweep of toy")
    folder = Path("/runs/tägliche läufe/7")
    stored.add("toy", params={"algo.beta": "0.05"}, folder=folder, parent=sweep, status="KILLED")
    with Records.open(stored.uri) as records:
        toy, parent = records.all()
    assert (toy.name, toy.status, toy.folder, toy.parent) == ("toy", "KILLED", folder, sweep)
    assert (toy.started, toy.ended) == (BEGAN + 60_000, BEGAN + 90_000)
    assert toy.params["algo.beta"] == "0.05"
    assert toy.metrics == {"eval/reward": 0.9}
    assert (parent.is_sweep, toy.is_sweep) == (True, False)


def test_newest_first_and_at_most_so_many(
    stored: StoredRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store gives pages: the second one must not be lost, nor begin again."""
    monkeypatch.setattr("rlexp.tracking.query.sources._PAGE", 3)
    monkeypatch.setattr("rlexp.tracking.query.sources._CHUNK", 3)
    for index in range(8):
        stored.add(f"run {index}")
    stored.client.delete_run(stored.add("deleted"))
    with Records.open(stored.uri) as records:
        assert [run.name[-1] for run in records.all()] == list("76543210")
        assert [run.name[-1] for run in records.all(limit=4)] == list("7654")


def test_every_value_is_the_same_both_ways(stored: StoredRuns, way: str) -> None:
    """What MLflow keeps for infinities, NaN and times is its own affair, and may change."""
    folder = Path("/runs/1")
    run_id = stored.add("toy", folder=folder, tags={"purpose": "paper"}, status="RUNNING")
    odd = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1e-300, "system/cpu": 3.0}
    stored.client.log_batch(run_id, metrics=[Metric(k, v, 5, 2) for k, v in odd.items()])
    with Records.open(stored.uri) as records:
        (toy,) = records.all()
        history = records.history(toy)
    run = stored.client.get_run(run_id)
    assert way in ("file", "client")
    assert (toy.params, toy.tags) == (run.data.params, run.data.tags)
    assert repr(sorted(toy.metrics.items())) == repr(sorted(run.data.metrics.items()))
    assert (toy.status, toy.ended, toy.experiment_id) == ("RUNNING", None, stored.experiment_id)
    for name in "abcd":
        logged = stored.client.get_metric_history(run_id, name)
        assert repr(history[name]) == repr([(point.step, point.value) for point in logged])


def test_top_folds_trials_into_their_sweep(stored: StoredRuns) -> None:
    """Ten trials would push everything else off a list of twenty."""
    stored.add("alone")
    sweep = stored.add_sweep("sweep")
    for trial in ("a", "b"):
        stored.add(trial, parent=sweep)
    with Records.open(stored.uri) as records:
        top = records.top()
        assert [run.name for run in top] == ["sweep", "alone"]
        assert [run.name for run in records.trials(top[0])] == ["b", "a"]


def test_words_name_runs_in_their_order_and_none_twice(stored: StoredRuns) -> None:
    """`compare` takes the first run as the one that the others are measured by."""
    first, second = stored.add("one"), stored.add("two")
    assert names(stored, second, "one", first, second[:10], "two") == ["two", "one"]


def test_a_name_that_several_runs_have_means_all_and_one_the_newest(stored: StoredRuns) -> None:
    """The default name says nothing of the settings, so it is that of many runs."""
    stored.add("same")
    newest = stored.add("same")
    assert names(stored, "same") == ["same", "same"]
    with Records.open(stored.uri) as records:
        assert records.one("same").run_id == newest


@pytest.mark.parametrize(
    "name",
    ["mit leerzeichen", "größe=1,5", "it's", 'a "b"', "both ' and \"", "50%_", "a AND b", "-- x"],
)
def test_names_as_people_write_them(stored: StoredRuns, name: str) -> None:
    """MLflow's filters know two quotes, no escape, and `%` and `_` as wild cards."""
    stored.add(name)
    stored.add(name.replace("'", "x").replace("%", "x").replace("_", "x") + "y")
    assert names(stored, name) == [name]


def test_the_beginning_of_an_id(stored: StoredRuns) -> None:
    """Two runs that begin alike must not be taken for each other: rm would take the wrong one."""
    ids = ["abcd1" + "0" * 27, "abcd2" + "0" * 27]
    store = sqlite3.connect(stored.uri.removeprefix("sqlite:///"), isolation_level=None)
    for index, wanted in enumerate(ids):
        run_id = stored.client.create_run(stored.experiment_id, run_name=f"run {index}").info.run_id
        for table in ("tags", "runs"):
            store.execute(f"UPDATE {table} SET run_uuid=? WHERE run_uuid=?", (wanted, run_id))
    store.close()
    assert names(stored, "abcd1") == ["run 0"]
    assert "2 runs" in message(stored, "abcd")
    assert "no such run" in message(stored, "abc")


def test_folders_of_runs_of_sweeps_and_of_days(stored: StoredRuns, tmp_path: Path) -> None:
    """People complete folders with the tabulator: relative, with a slash, over a link."""
    day = tmp_path / "outputs" / "20% läufe_"
    for name in ("a b", "a c"):
        (day / name).mkdir(parents=True)
        stored.add(name, folder=day / name)
    other = Path(str(day).replace("%", "x").replace("_", "x"))
    stored.add("elsewhere", folder=other / "a b")
    (tmp_path / "link").symlink_to(day)
    assert names(stored, "outputs/20% läufe_/a b/") == ["a b"]
    assert names(stored, "link/a b") == ["a b"]
    assert names(stored, f"{day}/../20% läufe_/a c") == ["a c"]
    assert names(stored, str(day)) == ["a c", "a b"]
    shutil.move(day / "a b", tmp_path / "moved")
    UploadState(run_id=stored.add("moved run")).save(tmp_path / "moved" / SENT)
    assert names(stored, "moved") == ["moved run"]


def test_a_sweep_stands_for_its_trials(stored: StoredRuns, tmp_path: Path) -> None:
    """By name, by id, by folder; and the sweep's own run has nothing to compare."""
    sweep = stored.add_sweep("sweep of toy", folder=str(tmp_path / "swept"))
    for number in range(2):
        stored.add(f"trial {number}", parent=sweep, folder=tmp_path / "swept" / str(number))
    for word in ("sweep of toy", sweep, "swept"):
        assert names(stored, word) == ["trial 1", "trial 0"]
    with Records.open(stored.uri) as records:
        assert [record.run_id for record in records.select(["swept"])] == [sweep]
    stored.add_sweep("empty")
    assert "without trials" in message(stored, "empty")


def test_filters(stored: StoredRuns) -> None:
    """Parameters are texts in MLflow, and people type numbers as they like."""
    stored.add("a", algo="ppo", params={"algo.beta": "0.05", "seed": "1", "peft.kind": "lora"})
    stored.add("b", algo="ppo", params={"algo.beta": "1.0"}, status="FAILED")
    stored.add("c", algo="dpo", params={"algo.beta": "0.05"}, tags={"purpose": "paper"})
    assert names(stored, "algo=ppo") == ["b", "a"]
    assert names(stored, "algo.name=dpo") == ["c"]
    assert names(stored, "algo.beta=5e-2") == ["c", "a"]
    assert names(stored, "algo.beta=1") == ["b"]
    assert names(stored, "peft=lora") == ["a"]
    assert names(stored, "seed=1") == ["a"]
    assert names(stored, "status=failed") == ["b"]
    assert names(stored, "name=c") == ["c"]
    assert names(stored, "tags.purpose=paper") == ["c"]
    with Records.open(stored.uri) as records:
        both = [RunFilter.filter("algo.beta=0.050"), RunFilter.filter("algo=ppo")]
        assert [record.name for record in records.all(conditions=both)] == ["a"]


def test_what_names_nothing_is_told_with_what_is_near(stored: StoredRuns) -> None:
    """All wrong words at once: each correction would otherwise cost another try."""
    stored.add("grpo-tiny-reviews-0", params={"algo.beta": "0.05"})
    told = message(stored, "grpo-tiny-review-0", "algo=gpro", "algo.bta=1", "status=DONE", "=1")
    assert "Did you mean grpo-tiny-reviews-0?" in told
    assert "what runs here have: grpo" in told
    assert "Did you mean algo.beta=…?" in told
    assert "status: got DONE" in told
    assert "key=value" in told


def test_history_has_one_point_a_step(stored: StoredRuns) -> None:
    """A resumed run can have logged a step twice; the card knows the later one."""
    run_id = stored.add("toy")
    points = [(2, 0.2, 20), (1, 0.1, 10), (2, 0.3, 30), (3, math.inf, 40)]
    metrics = [Metric("train/loss", value, time, step) for step, value, time in points]
    metrics.append(Metric("system/cpu", 1.0, 10, 1))
    stored.client.log_batch(run_id, metrics=metrics)
    with Records.open(stored.uri) as records:
        history = records.history(records.one("toy"))
    assert list(history) == ["eval/reward", "train/loss"]
    assert [step for step, _ in history["train/loss"]] == [1, 2, 3]
    assert history["train/loss"][1] == (2, 0.3)


def test_artifacts_and_samples(stored: StoredRuns, tmp_path: Path) -> None:
    """The files are copies: what a reader does to them must not reach the store."""
    rows = {step: [{"step": step, "prompt": "Ein Tag", "reward": step / 10}] for step in (0, 7, 10)}
    run_id = stored.add("toy", samples=rows)
    stored.client.log_text(run_id, "seed: 7\n", "config.yaml")
    with Records.open(stored.uri) as records:
        toy = records.one("toy")
        assert records.artifacts(toy) == ["config.yaml", "samples"]
        assert len(records.artifacts(toy, "samples")) == 3
        assert records.samples(toy) == rows[10]
        assert records.samples(toy, 7) == rows[7]
        assert records.samples(toy, 8) == []
        path = records.artifact(toy, "config.yaml")
        path.write_text("scribbled on")
        assert records.artifact(toy, "config.yaml") == path
        with pytest.raises(FileNotFoundError, match="toy has no artifact card"):
            records.artifact(toy, "card.html")
    assert not path.exists()
    assert MlflowClient(stored.uri).download_artifacts(run_id, "config.yaml", str(tmp_path))
    assert (tmp_path / "config.yaml").read_text() == "seed: 7\n"


def test_looking_makes_no_store(tmp_path: Path) -> None:
    """MLflow would make the tables in whatever file it is given, and say that there are no runs."""
    missing, text, other = (tmp_path / name for name in ("none.db", "text.db", "other.db"))
    text.write_text("not a data base, but long enough that SQLite reads a header of it" * 3)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = {path.name: path.read_bytes() for path in (text, other)}
    for path, told in ((missing, "python -m rlexp"), (text, "MLflow made"), (other, "no table")):
        with pytest.raises(UserError, match=told):
            Records.open(f"sqlite:///{path}")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_unknown_experiment(stored: StoredRuns) -> None:
    """An empty list would look as though the runs were lost."""
    with pytest.raises(UserError, match="Did you mean rlexp"):
        Records.open(stored.uri, "rlxp")


@pytest.mark.parametrize("way", ["file"], indirect=True)  # a server has one way only
@pytest.mark.long
def test_silent_and_absent_servers(tmp_path: Path) -> None:
    """MLflow's defaults wait for minutes, for each call, with a warning for each try."""
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen()
        port = hung.getsockname()[1]
        failures: list[str] = []

        def ask(uri: str) -> None:
            with pytest.raises(UserError) as raised:
                Records.open(uri)
            failures.append(str(raised.value))

        uris = [f"http://127.0.0.1:{port}", "http://127.0.0.1:9", "http://ann:pass@127.0.0.1:9"]
        threads = [threading.Thread(target=ask, args=[uri]) for uri in uris]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert len(failures) == len(uris), "it still waits"
    assert all("does not answer" in told and "tracking.uri=" in told for told in failures)
    assert not any("pass" in told for told in failures)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
