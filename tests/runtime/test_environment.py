"""The environment that a run prepares for libraries before they are imported."""

from __future__ import annotations

import os

import pytest

from rlexp.runtime.environment import SPINS, share_cores


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, SPINS),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(
    given: dict[str, str], count: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that take each other's cores; a choice of the user's that is overridden."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    share_cores()
    assert os.environ.get("GOMP_SPINCOUNT") == count
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
