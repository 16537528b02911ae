"""Long waits on the terminal."""

from __future__ import annotations

import itertools
import re
import threading

import pytest

from rlexp.runtime import waiting
from rlexp.runtime.waiting import announced_wait


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_told", {})


def test_a_wait_is_told_with_its_seconds() -> None:
    """A run that seems to hang, and does not say for whom."""
    lines: list[str] = []
    told = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        told.set()

    with announced_wait("the judge", remedy="Start it.", first=0.01, say=say):
        assert told.wait(20)
    assert re.fullmatch(r"waiting for the judge since \d+ s\. Start it\.", lines[0])


def test_it_is_told_again_ever_more_seldom() -> None:
    """One line only, or one every half minute for a night."""
    moments: list[float] = []
    enough = threading.Event()

    def say(text: str) -> None:
        moments.append(waiting.time.monotonic())
        if len(moments) == 4:
            enough.set()

    with announced_wait("x", first=0.02, say=say):
        assert enough.wait(20)
    pauses = [later - sooner for sooner, later in itertools.pairwise(moments)]
    assert pauses[0] < pauses[1] < pauses[2]


def test_a_short_wait_is_not_told() -> None:
    """A line for each step; a thread that outlives its wait."""
    lines: list[str] = []
    for _ in range(50):
        with announced_wait("x", say=lines.append):
            pass
    for thread in [thread for thread in threading.enumerate() if thread.name == "wait"]:
        thread.join(20)
        assert not thread.is_alive()
    assert lines == []


def test_what_is_usual_is_told_once() -> None:
    """A reward that takes a minute at each step, told of at each step."""
    lines: list[str] = []
    told = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        told.set()

    with announced_wait("x", first=0.05, say=say):
        assert told.wait(20)
    first = waiting._told["x"]
    told.clear()
    with announced_wait("x", first=0.0, say=say):
        assert told.wait(20)
        assert waiting._told["x"] >= 2 * first


def test_an_error_passes_and_ends_the_lines() -> None:
    """A wait that swallows what went wrong."""
    with pytest.raises(KeyError), announced_wait("x", first=0.0, say=lambda text: None):
        raise KeyError("lost")
