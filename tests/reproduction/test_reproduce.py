"""`python -m rlexp reproduce`: real runs of the tiny model, had again from the tracking store."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from runs import SMALL, rlexp, run_here

from rlexp.__main__ import main
from rlexp.builtin import grammar
from rlexp.tracking.query.records import Records

FEW = ("eval.prompts=8", "eval.completions=1", "eval.texts=8")
MINE = [*(option for option in SMALL if option != "tracking=none"), *FEW]
REWARD = (
    "def score(completions, **columns):\n    return [len(text) / 100 for text in completions]\n"
)
NO_TORCH = "raise SystemError('torch is imported')\n"


@dataclass
class Recorded:
    """A run that is in a store, and whose folder is gone."""

    home: Path
    """Where it was started, with `data.jsonl` and `my_reward.py`."""
    store: str
    """The word that names the store."""
    run_id: str

    def artifact(self, name: str) -> Path:
        (found,) = self.home.glob(f"mlartifacts/rlexp/{self.run_id}/artifacts/{name}")
        return found


def newest(store: str) -> str:
    with Records.open(store.removeprefix("tracking.uri=")) as records:
        return records.all(1)[0].run_id


@pytest.fixture(scope="module")
def recorded(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """GRPO on a file of texts with a reward function of the user's own."""
    home = tmp_path_factory.mktemp("home")
    rows = [{"text": review.text} for review in grammar.sample_reviews(300, seed=3)]
    (home / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (home / "my_reward.py").write_text(REWARD)
    store = f"tracking.uri=sqlite:///{shutil.copy(tables, home / 'mlflow.db')}"
    data = ["data=file", "data.path=data.jsonl", "data.max_completion_length=16"]
    with contextlib.chdir(home):
        run_here(
            home / "run", *MINE, *data, "reward=python", "reward.function=my_reward:score", store
        )
    shutil.rmtree(home / "run")
    return Recorded(home, store, newest(store))


@pytest.fixture
def at_home(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.chdir(recorded.home)
    return recorded


@contextlib.contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """The file with other text in it, as long as the block lasts."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    yield
    path.write_text(text)


def reproduce(recorded: Recorded, *words: str) -> int:
    return main(["reproduce", recorded.run_id, recorded.store, *words])


def result(recorded: Recorded, printed: str) -> dict:
    """What the run whose folder was printed last has left, in its folder and in the store alike."""
    folder = Path(printed.strip().splitlines()[-1])
    left = json.loads((folder / "reproduction.json").read_text())
    client = MlflowClient(recorded.store.removeprefix("tracking.uri="))
    run = client.get_run(newest(recorded.store))
    assert run.data.tags["folder"] == str(folder)
    assert run.data.tags["reproduces"] == left["reproduces"] == recorded.run_id
    assert run.data.tags["reproduced"] == left["reproduced"]
    assert "reproduction.json" in {file.path for file in client.list_artifacts(run.info.run_id)}
    return left


@pytest.mark.long
def test_exactly_from_the_store_alone(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything that decides the numbers and is not in the store: the folder of the run is gone."""
    assert reproduce(at_home) == 0
    printed = capsys.readouterr().out
    assert "Reproduced exactly" in printed
    left = result(at_home, printed)
    assert left["reproduced"] == "exactly"
    assert {"train/loss", "rollout/reward", "eval/reward", "eval/kl"} <= set(left["metrics"])
    assert not any(name.startswith(("perf/", "system/")) for name in left["metrics"])
    assert left["held_to"]["hardware.device"] == "cpu"


@pytest.mark.long
def test_another_seed_parts_at_the_first_step(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """A comparison that calls everything equal, or that names a later step than the first."""
    with changed(at_home.artifact("config.yaml"), "\nseed: 0", "\nseed: 1"):
        assert reproduce(at_home) == 1
    printed = capsys.readouterr().out
    assert "Not reproduced." in printed
    left = result(at_home, printed)
    assert left["reproduced"] == "differs"
    loss = left["metrics"]["train/loss"]
    assert (loss["parted"], loss["points"], loss["missing"]) == (1, 2, 0)
    assert loss["absolute"] > 0
    # The evaluation before training depends on eval.seed alone: step 0 is the same.
    assert left["metrics"]["eval/reward"]["parted"] == 2


@pytest.mark.long
def test_changed_data_is_refused_before_torch(
    at_home: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Minutes of loading, or a whole run, before it is said that the data is another."""
    (tmp_path / "torch.py").write_text(NO_TORCH)
    without_torch = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    command = ["reproduce", at_home.run_id, at_home.store, "--dry-run"]
    with changed(at_home.home / "data.jsonl", "the", "The"):
        refused = rlexp(*command, folder=at_home.home, environment=without_torch)
        told = reproduce(at_home, "--dry-run", "--changed-data")
    assert refused.returncode == 2, refused.stderr
    assert "data: got data.jsonl: 300 rows" in refused.stderr
    assert "--changed-data" in refused.stderr
    assert told == 0
    assert "Bring back the rows of data.jsonl" in capsys.readouterr().out


def test_a_config_that_was_never_sent_can_be(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback of MLflow's for a run whose spool has what is missing."""
    config = at_home.artifact("config.yaml")
    aside = config.rename(config.with_suffix(".aside"))
    try:
        assert reproduce(at_home, "--dry-run") == 2
    finally:
        aside.rename(config)
    assert "python -m rlexp sync" in capsys.readouterr().err


def test_another_package_is_told_with_the_command(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other versions that go unsaid, or said without a way back."""
    listed = at_home.artifact("packages.txt")
    trl = next(line for line in listed.read_text().splitlines() if line.startswith("trl=="))
    with changed(listed, trl, "trl==0.0.1\nonce-installed==7"):
        assert reproduce(at_home, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "python -m pip install trl==0.0.1\n" in printed
    assert any(
        line.split() == ["once-installed", "7", "not", "installed"] for line in printed.splitlines()
    )
    assert "pip install -r was/packages.txt" in printed


def test_another_reward_is_told_with_the_command(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's own function, which no commit and no version tells of."""
    with changed(at_home.home / "my_reward.py", "100", "50"):
        assert reproduce(at_home, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "your code in my_reward.py" in printed
    assert f"-r {at_home.run_id} -a sources/my_reward.py" in printed
    assert at_home.artifact("sources/my_reward.py").read_text() == REWARD


@pytest.mark.parametrize(
    ("name", "key"), [("my_reward.py", "reward.function"), ("data.jsonl", "data.path")]
)
def test_a_file_that_is_gone_is_named(
    name: str,
    key: str,
    at_home: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A traceback, or a path without the folder that it was to be read from."""
    monkeypatch.delitem(sys.modules, "my_reward", raising=False)  # the first run was in here
    away = (at_home.home / name).rename(at_home.home / "away")
    try:
        assert reproduce(at_home) == 2
    finally:
        away.rename(at_home.home / name)
    said = capsys.readouterr().err
    assert f"{key}: got" in said
    assert f"The run was started in {at_home.home}; add {key}=PLACE" in said
    assert list(at_home.home.glob("outputs/*/*")) == kept(at_home)


def kept(recorded: Recorded) -> list[Path]:
    """Folders of runs: none is left behind by one that did not begin."""
    return [path for path in recorded.home.glob("outputs/*/*") if (path / "spool.jsonl").exists()]


def test_the_same_rows_in_another_place(
    at_home: Recorded, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Data that is known by its path rather than by its rows."""
    away = (at_home.home / "data.jsonl").rename(tmp_path / "moved.jsonl")
    try:
        assert reproduce(at_home, "--dry-run", f"data.path={away}") == 0
    finally:
        away.rename(at_home.home / "data.jsonl")
    assert "Bring back" not in capsys.readouterr().out


def test_what_makes_it_another_run_is_refused(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reproduction with another learning rate; mistakes that come one at a time."""
    assert reproduce(at_home, "algo.learning_rate=1", "data.pth=x") == 2
    said = capsys.readouterr().err
    assert "algo.learning_rate: got algo.learning_rate=1" in said
    assert "Did you mean data.path=…?" in said


def test_a_secret_is_asked_for(at_home: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """A run with `***` in the place of a secret that it needs."""
    with changed(at_home.artifact("config.yaml"), "attention: sdpa", "attention: '***'"):
        assert reproduce(at_home, "--dry-run") == 2
        assert "Add model.attention=VALUE" in capsys.readouterr().err
        assert reproduce(at_home, "--dry-run", "model.attention=sdpa") == 0


@pytest.mark.slow
@pytest.mark.long
def test_an_extended_run_is_trained_in_the_same_stages(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """One go to the last length, whose learning rates are others from the first step on."""
    folder = run_here(at_home.home / "extended", "algo=reinforce", *MINE, at_home.store)
    assert main(["resume", str(folder), "train.max_steps=4"]) == 0
    shutil.rmtree(folder)
    extended = Recorded(at_home.home, at_home.store, newest(at_home.store))
    assert reproduce(extended) == 0
    printed = capsys.readouterr().out
    assert "trained to step 2, then to 4, as then" in printed
    assert result(extended, printed)["metrics"]["train/loss"]["points"] == 4


def test_a_sweep_has_to_be_one_of_its_trials(
    at_home: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep's own run, which has no config, or whichever trial happened to come last."""
    client = MlflowClient(at_home.store.removeprefix("tracking.uri="))
    (experiment,) = client.search_experiments(filter_string="name = 'rlexp'")
    tags = {"sweep.overrides": "seed=0,1"}
    sweep = client.create_run(experiment.experiment_id, run_name="a sweep", tags=tags)
    client.set_terminated(sweep.info.run_id)
    client.set_tag(at_home.run_id, "mlflow.parentRunId", sweep.info.run_id)
    assert reproduce(Recorded(at_home.home, at_home.store, sweep.info.run_id)) == 2
    assert f"({at_home.run_id[:8]})" in capsys.readouterr().err
    assert reproduce(at_home, "--dry-run") == 0
    client.delete_tag(at_home.run_id, "mlflow.parentRunId")
    client.delete_run(sweep.info.run_id)
