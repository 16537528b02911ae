"""Versions of a data set: whole or not there, never twice, never written over."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rlexp.labelling import dataset
from rlexp.labelling.dataset import save_version
from rlexp.spec.errors import UserError

ABOUT = {"import.json": "{}"}


def test_same_rows_are_the_same_version(tmp_path: Path) -> None:
    """A data set that grows by a version each time a command is typed; one that is written over."""
    parent = tmp_path / "data" / "votes"
    first = save_version(parent, {"pairs.jsonl": "1\n"}, ABOUT)
    second = save_version(parent, {"pairs.jsonl": "2\n"}, ABOUT)
    again = save_version(parent, {"pairs.jsonl": "1\n"}, {"import.json": "other"})
    assert [(v.folder.name, v.is_new) for v in (first, second, again)] == [
        *(("v1", True), ("v2", True), ("v1", False))
    ]
    assert (first.folder / "import.json").read_text() == "{}"
    assert sorted(path.name for path in parent.iterdir()) == [".lock", "v1", "v2"]


def test_the_tenth_version_comes_after_the_ninth(tmp_path: Path) -> None:
    """Versions in the order of words; one that was taken away given out again."""
    for name in ("v2", "v9", "v10", "vacation"):
        (tmp_path / name).mkdir()
    assert save_version(tmp_path, {"pairs.jsonl": ""}, ABOUT).folder.name == "v11"


def test_a_killed_import_leaves_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a data set that the next run trains on; its remains for ever."""
    real = dataset.fsync_path

    def killed(path: Path) -> None:
        real(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "fsync_path", killed)
    with pytest.raises(KeyboardInterrupt):
        save_version(tmp_path, {"pairs.jsonl": "1\n"}, ABOUT)
    assert list(tmp_path.glob("v*")) == [] and list(tmp_path.glob(".new-*"))
    monkeypatch.setattr(dataset, "fsync_path", real)
    assert save_version(tmp_path, {"pairs.jsonl": "1\n"}, ABOUT).folder.name == "v1"
    assert list(tmp_path.glob(".new-*")) == []


def test_two_imports_at_once_make_two_versions(tmp_path: Path) -> None:
    """One of them lost, or an error for the slower one."""
    saved = []
    jobs = [
        threading.Thread(
            target=lambda n=n: saved.append(
                save_version(tmp_path, {"pairs.jsonl": f"{n}\n"}, ABOUT)
            )
        )
        for n in range(4)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(version.folder.name for version in saved) == ["v1", "v2", "v3", "v4"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A traceback for a file where a folder should be."""
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match=r"to: got .*data/votes"):
        save_version(tmp_path / "data" / "votes", {"pairs.jsonl": ""}, ABOUT)
