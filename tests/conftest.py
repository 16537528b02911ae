"""A tracking store for the tests of what reads one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stored_runs import StoredRuns

collect_ignore = ["standin_vllm"]
"""Looked through for doctests, it would be what every later test imports as vLLM."""


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs: making one takes seconds, copying it nothing."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    StoredRuns(f"sqlite:///{path}")
    return path


@pytest.fixture
def stored(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredRuns:
    """A store of its own for a test, where rlexp looks for one without being told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return StoredRuns(f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}")
