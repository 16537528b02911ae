"""Signals that end a run, and those that do not."""

from __future__ import annotations

import os
import signal

import pytest

from rlexp.runtime.signals import Terminated, sigterm_raises


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_what_ends_a_process_is_an_exception(number: signal.Signals) -> None:
    """A scheduler's warning, or a terminal that closes, that leaves a run open for ever."""
    before = signal.getsignal(number)
    with pytest.raises(Terminated, match=number.name) as caught, sigterm_raises():
        os.kill(os.getpid(), number)
        signal.pause()
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == before


def test_what_is_ignored_stays_so() -> None:
    """A run under `nohup` that ends with its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with sigterm_raises():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
