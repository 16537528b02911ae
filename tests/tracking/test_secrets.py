"""Secrets never reach the spool, MLflow's files or a log."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from runs import SHORT, run_here
from tracking_spec import tracking_spec

from rlexp.__main__ import main
from rlexp.spec import UserError
from rlexp.tracking import Tracker
from rlexp.tracking.provenance import environment
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.shipper import Shipper
from rlexp.tracking.store.connection import resolve, ui_command

SECRET = "s3cret-value-of-the-environment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://ann:pass@host:5000/x", "http://***@host:5000/x"),
        ("postgresql+psycopg2://u:p%40ss@db/m", "postgresql+psycopg2://***@db/m"),
        ("uri: 'https://user:p:w@h' # note", "uri: 'https://***@h' # note"),
        ("algo.trl.hub_token=abc beta=1", "algo.trl.hub_token=*** beta=1"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("pushed with hf_abcdefghijklmnopqrst", "pushed with ***"),
        ("max_new_tokens=48 pad_token: <|pad|>", "max_new_tokens=48 pad_token: <|pad|>"),
        ("mail ann@host about http://host/a", "mail ann@host about http://host/a"),
    ],
)
def test_what_is_a_secret(text: str, expected: str) -> None:
    """Both ways: a password that stays, and a tokenizer's pad token that disappears."""
    assert redacted(text) == expected


def test_secret_of_the_environment_is_found_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token given by variable can turn up in an error message or on the command line."""
    monkeypatch.setenv("MY_HUB_TOKEN", SECRET)
    monkeypatch.setenv("SHORT_KEY", "1")
    assert redacted(f"401 for {SECRET} in step 1") == "401 for *** in step 1"


def test_no_secret_in_anything_that_a_run_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One forgotten way (command, config, diff, note, error, table) would publish the token."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(sys, "argv", ["rlexp", f"algo.trl.hub_token={SECRET}"])
    monkeypatch.chdir(tmp_path)
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]
    (tmp_path / "code.py").write_text("pass\n")
    for arguments in (["init", "-q"], ["add", "code.py"], commit):
        subprocess.run(["git", *arguments], check=True, cwd=tmp_path)
    (tmp_path / "code.py").write_text(f"token = '{SECRET}'\n")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"uri: http://ann:{SECRET}@127.0.0.1:9\nbeta: 0.1\n")
    spec = tracking_spec(f"http://ann:{SECRET}@127.0.0.1:9")
    caplog.set_level(logging.DEBUG)
    with (
        pytest.raises(RuntimeError),
        Tracker.open(spec, folder, description=f"with {SECRET}") as tracker,
    ):
        tracker.samples("samples", 1, [{"prompt": SECRET, "reward": 1.0}])
        tracker.event("call", url=f"http://h/?api_key={SECRET}")
        assert tracker.run_id is None
        raise RuntimeError(f"cannot log in with {SECRET}")
    (folder / "config.yaml").unlink()
    left = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in left} >= {"spool.jsonl", "config.yaml", "git.diff"}
    assert [path for path, text in left.items() if SECRET in text] == []
    assert "127.0.0.1:9" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in str(tracker.ui_command)


def test_error_of_the_store_is_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A data base's driver may repeat the address, password included, in its error."""

    def refuse(self: Shipper, enough: object) -> None:
        raise RuntimeError(f"cannot open postgresql://ann:{SECRET}@db/mlflow")

    monkeypatch.setattr(Shipper, "ship", refuse)
    with Tracker.open(tracking_spec("postgresql://db/mlflow"), tmp_path / "run"):
        pass
    assert "cannot open postgresql://***@db/mlflow" in caplog.text
    assert SECRET not in caplog.text


def test_addresses_in_messages_are_redacted() -> None:
    """The address is shown when it is wrong and when it is to be looked at."""
    with pytest.raises(UserError) as caught:
        resolve(f"postgres://ann:{SECRET}@db/mlflow")
    assert SECRET not in str(caught.value)
    assert SECRET not in ui_command(f"postgresql://ann:{SECRET}@db/mlflow")


def test_params_are_few_single_values_of_the_run() -> None:
    """150 columns, or a null that turns a numeric column into text, spoil the comparison."""
    params = environment.params(tracking_spec(None))
    assert params["algo.beta"] == 0.1
    assert params["algo.loss"] == "a"
    assert params["train.batch_size"] == 4
    assert "algo.clip" not in params
    assert "algo.trl" not in params
    assert len(params) < 25


@pytest.mark.long
def test_the_pages_of_a_run_have_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card, or a comparison, that is passed on with the address of the store in its config."""
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / name for name in "ab"]
    for number, folder in enumerate(folders):
        address = f"http://ann:pass-{number}-word@127.0.0.1:9"
        words = [word for word in SHORT if word != "tracking=none"]
        run_here(folder, *words, f'tracking.uri="{address}"')
        pages = {file.name: file.read_text() for file in folder.glob("card.*")}
        assert [name for name, text in pages.items() if "-word" in text] == []
        assert address in (folder / "config.yaml").read_text()  # resuming needs it
    assert main(["compare", *map(str, folders), "--html", "two.html"]) == 0
    assert "-word" not in Path("two.html").read_text()
