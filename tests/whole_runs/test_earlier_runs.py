"""Runs, a sweep and a spool that earlier code left behind are read by today's.

`earlier_runs/` holds the text files of four folders that commit 8e71acb wrote: `ppo6` finished;
`killed` was killed behind its checkpoint of step 8, which a later run noticed; `unsent` had a
tracking server that was not there; `study` is a sweep of five trials that was killed after four
(its `study.db` as SQL, of its trials what is read later). `/RUNS` stands for where they lay, HOST
for the machine. What these files call things is what the runs of all users call them: code may be
renamed, this may not.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from runs import rlexp

from rlexp.__main__ import main
from rlexp.algos.grpo import Grpo
from rlexp.algos.sft import Sft
from rlexp.evaluation.results import Evaluation
from rlexp.launch.resume_plan import plan_resume
from rlexp.reproduction.plan import plan_reproduction
from rlexp.reproduction.recorded import read_recorded_run
from rlexp.rewards.sentiment import Sentiment
from rlexp.spec.errors import UserError
from rlexp.spec.keys import with_current_names
from rlexp.spec.run import RunSpec
from rlexp.tracking.query.records import Records

EARLIER = Path(__file__).with_name("earlier_runs")
EVALUATIONS = sorted(
    str(file.relative_to(EARLIER))
    for pattern in ("*/evaluations/*.json", "*/looks/*.json")
    for file in EARLIER.glob(pattern)
)


def put(name: str, here: Path, *, moved: bool = True) -> Path:
    """The folder, as if its command had been typed in `here`; or with its bytes as they are."""
    place = here / ("multirun" if name == "study" else "outputs") / name
    shutil.copytree(EARLIER / name, place)
    for file in place.rglob("*") if moved else ():
        if file.is_file():
            text = file.read_text(encoding="utf-8").replace("/RUNS", str(here))
            file.write_text(text.replace("HOST", platform.node()), encoding="utf-8")
    return place


def put_study(here: Path) -> Path:
    place = put("study", here)
    script = place / "study.sql"
    with closing(sqlite3.connect(place / "study.db")) as database:
        database.executescript(script.read_text(encoding="utf-8"))
    script.unlink()
    return place


def stand_in_for_weights(folder: Path) -> None:
    """Files of the names and sizes that the checkpoints' lists have."""
    for listed in folder.glob("checkpoints/*/complete.json"):
        for name, size in json.loads(listed.read_text(encoding="utf-8")).items():
            listed.with_name(name).touch()
            os.truncate(listed.with_name(name), size)


def config_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


def spool_of(folder: Path) -> list[dict[str, Any]]:
    """Its events, read without rlexp."""
    lines = (folder / "spool.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["ppo6", "killed", "unsent", "study/0", "study/3"])
def test_their_configs_are_valid(name: str) -> None:
    """A key of `config.yaml`, or a `_target_`, that was renamed or has become compulsory."""
    config = config_of(EARLIER / name)
    spec = RunSpec.parse(config)
    for group in ("algo", "data", "reward"):
        part = type(getattr(spec, group))
        assert f"{part.__module__}.{part.__name__}" == config[group]["_target_"]


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """`complete.json` that is no longer read; a default that an old config does not have."""
    folder = put("killed", tmp_path)
    stand_in_for_weights(folder)
    plan = plan_resume(folder, [])
    assert plan.checkpoint == folder / "checkpoints" / "step-000008"
    assert with_current_names(plan.config) == with_current_names(config_of(folder))
    assert isinstance(plan.spec.algo, Grpo) and isinstance(plan.spec.reward, Sentiment)
    assert plan.spec.train.max_steps == 40


def test_keys_of_today_may_be_set_where_a_run_goes_on(tmp_path: Path) -> None:
    """A key that the run is too old to have, taken for a typo; or its default of today, by which
    a run would do what it was never asked to."""
    folder = put("killed", tmp_path)
    stand_in_for_weights(folder)
    assert plan_resume(folder, []).spec.scoring.probe == "off"
    assert plan_resume(folder, ["scoring.probe=warn"]).spec.scoring.probe == "warn"


def test_steps_that_it_had_told_of_stay(tmp_path: Path) -> None:
    """Spool events `metrics` with their `step`: the run could be cut short behind what it told."""
    folder = put("killed", tmp_path)
    steps = [
        event["step"]
        for event in spool_of(folder)
        if event["kind"] == "metrics" and "train/loss" in event["metrics"]
    ]
    with pytest.raises(UserError, match=f"at least {max(steps)}"):
        plan_resume(folder, [f"train.max_steps={max(steps) - 1}"])


def test_a_finished_run_is_trained_for_longer(tmp_path: Path) -> None:
    """Spool event `end` with its `status`: a finished run would be gone on with at its end."""
    folder = put("ppo6", tmp_path)
    stand_in_for_weights(folder)
    with pytest.raises(UserError, match="a run that has finished, at step 6"):
        plan_resume(folder, [])
    plan = plan_resume(folder, ["train.max_steps=12"])
    assert plan.checkpoint == folder / "checkpoints" / "step-000006"
    assert plan.spec.train.max_steps == 12


@pytest.mark.parametrize("name", EVALUATIONS)
def test_their_evaluations_load(name: str, tmp_path: Path) -> None:
    """A field of `evaluations/*.json` or `looks/*.json`, of its samples too, that is gone."""
    stored = json.loads((EARLIER / name).read_text(encoding="utf-8"))
    evaluation = Evaluation.from_json(EARLIER / name)
    assert evaluation.metrics == stored["metrics"]
    assert [sample.completion for sample in evaluation.samples] == [
        sample["completion"] for sample in stored["samples"]
    ]
    evaluation.to_json(tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))
    for old, new in zip(stored.pop("samples"), again.pop("samples"), strict=True):
        assert all(new[name] == value for name, value in old.items())
    assert all(again[name] == value for name, value in stored.items())


def test_they_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spool events `start`, `params`, `metrics` and `table`, and the columns of `samples/`."""
    monkeypatch.chdir(tmp_path)
    for name in ("ppo6", "unsent"):
        put(name, tmp_path)
    folders = ["outputs/ppo6", "outputs/unsent"]
    assert main(["compare", *folders, "--html", "page.html"]) == 0
    page, shown = Path("page.html").read_text(encoding="utf-8"), capsys.readouterr().out
    for folder, step in zip(folders, (6, 4), strict=True):
        card = json.loads(Path(folder, "card.json").read_text(encoding="utf-8"))
        for when in ("before", "after"):
            assert f"{card[when]['reward']:.3f}" in shown
        assert f"{card['name']}  finished  step {step} of {step}" in shown
    assert "on 32 shared held-out prompts" in shown and "algo.critic=shared" in shown
    told = next(event for event in spool_of(EARLIER / "unsent") if event["kind"] == "table")
    assert told["data"][0][told["columns"].index("prompt")] in page


def test_a_sweeps_trials_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep's folder, whose own `spool.jsonl` is no run's."""
    monkeypatch.chdir(tmp_path)
    put("study", tmp_path)
    assert main(["compare", "multirun/study", "--metric", "reward"]) == 0
    shown = capsys.readouterr().out
    for trial in range(4):
        last = [each for each in spool_of(EARLIER / f"study/{trial}") if each["kind"] == "metrics"]
        rewards = [
            each["metrics"]["eval/reward"] for each in last if "eval/reward" in each["metrics"]
        ]
        assert f"trial-00{trial}  finished" in shown and f"→ {rewards[-1]:.3f}" in shown


def test_what_was_sent_is_not_sent_again(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field of `spool.sent`: all would go over again."""
    put("ppo6", tmp_path, moved=False)
    assert main(["sync", "outputs/ppo6", f"tracking.uri={uri}"]) == 0
    assert "MLflow has all of them" in capsys.readouterr().out


def test_a_run_of_another_machine_is_left_alone(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tag `host`: a run that is alive there would be ended."""
    folder = put("killed", tmp_path, moved=False)
    lines = (folder / "spool.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    unended = [line for line in lines if '"kind":"end"' not in line]
    assert len(unended) == len(lines) - 1
    (folder / "spool.jsonl").write_text("".join(unended), encoding="utf-8")
    assert main(["sync", "outputs/killed", f"tracking.uri={uri}"]) == 0
    assert "ran on HOST" in capsys.readouterr().out


def test_an_unsent_spool_is_sent_and_can_be_reproduced(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of event and its fields, the tag `rlexp.spool`, and the names of the artifacts
    `config.yaml`, `packages.txt` and `origin.json` with its `settings` and `resolved`."""
    folder = put("unsent", tmp_path)
    (folder / "card.html").write_text("<p>not among the text files</p>", encoding="utf-8")
    told = [
        (name, event["step"], float(value))
        for event in spool_of(folder)
        if event["kind"] == "metrics"
        for name, value in event["metrics"].items()
    ]
    words = ["sync", "outputs/unsent", f"tracking.uri={uri}"]
    assert main(words) == 0
    assert f"{len(spool_of(folder))} events sent" in capsys.readouterr().out
    assert stored_points(uri) == sorted(told)

    assert main(words) == 0
    assert "MLflow has all of them" in capsys.readouterr().out
    (folder / "spool.sent").unlink()
    assert main(words) == 0
    assert stored_points(uri) == sorted(told)

    config = config_of(folder)
    with Records.open(uri, "rlexp") as records:
        recorded = read_recorded_run(records, "sft-tiny-reviews-0")
    assert recorded.record.status == "FINISHED" and recorded.record.folder == folder
    [stage] = plan_reproduction(recorded, [], uri)
    assert isinstance(stage.spec.algo, Sft)
    assert stage.config["algo"] == config["algo"] and stage.config["train"] == config["train"]
    resolved = recorded.origin["resolved"]
    assert stage.held_to and stage.held_to.items() <= resolved.items()
    assert stage.spec.peft.kind == resolved["peft.kind"] == "none"


def stored_points(uri: str) -> list[tuple[str, int, float]]:
    client = MlflowClient(tracking_uri=uri)
    [run] = client.search_runs(["1"])
    return sorted(
        (name, point.step, point.value)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    )


def test_a_sweep_is_reported_on(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The attributes of a study and of its trials in `study.db`, and a trial's `config.yaml`."""
    folder = put_study(tmp_path)
    assert main(["report", "study"]) == 0
    shown = capsys.readouterr().out
    assert "dpo_basics: 4 trials: 4 complete" in shown
    assert "eval/reward 0.944 in trial 1" in shown
    assert "has it among the artifacts" in shown
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(key in page for key in ("algo.learning_rate", "algo.beta", "algo.loss_type"))
    best, trial = (folder / "best.yaml").read_text(encoding="utf-8"), config_of(folder / "1")
    assert yaml.safe_load(best)["algo"] == trial["algo"]
    assert "-m sweep=dpo_basics sweep.n_trials=5" in best and "multirun/study/1" in best


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_sweep_goes_on(uri: str, tmp_path: Path) -> None:
    """A trial's attributes, and the study's `space` and `config`, that the same command no longer
    recognises: the sweep would begin again."""
    folder = put_study(tmp_path)
    before = (folder / "1" / "spool.jsonl").read_bytes()
    words = "-m sweep=dpo_basics sweep.n_trials=5 train.max_steps=6 eval=quick"
    done = rlexp(*words.split(), "sweep.folder=multirun/study", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 trials have ended" in done.stdout
    assert (folder / "4" / "spool.jsonl").is_file() and not (folder / "5").exists()
    assert (folder / "1" / "spool.jsonl").read_bytes() == before
