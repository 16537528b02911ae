"""Tracking stores, and a run, for the tests of what reads them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from killed_runs import SIX
from runs import run_here
from stored_runs import StoredRuns

from rlexp.builtin import tiny
from rlexp.tracking.store.schema import ensure_tables

collect_ignore = ["models/standin_vllm"]
"""Looked through for doctests, it would be what every later test imports as vLLM."""


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, empty: making them takes seconds, copying them nothing.

    All worker processes of a session share them.
    """
    place = tmp_path_factory.getbasetemp()
    path = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "tables.db"
    with ensure_tables(f"sqlite:///{path}"):
        return path


@pytest.fixture(scope="session")
def empty_store(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with rlexp's experiment, and without runs."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    shutil.copy(tables, path)
    StoredRuns(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store for one test, which is in its folder."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nothing happened to, with all of its checkpoints."""
    tiny.ensure_tiny_model()
    return run_here(tmp_path_factory.mktemp("runs") / "whole", *SIX, "train.keep_checkpoints=9")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type commands in; a command in this process may leave it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def stored(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredRuns:
    """A store of its own for a test, where rlexp looks for one without being told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return StoredRuns(f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}")
