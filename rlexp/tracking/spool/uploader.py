"""The thread that carries the spool to MLflow while the training goes on."""

from __future__ import annotations

import logging
import math
import shlex
import threading
import time
from collections.abc import Callable

from rlexp.runtime.waiting import announced_wait
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.dead_runs import close_dead_runs
from rlexp.tracking.spool.shipper import FilesDeferred, Shipper, cause_of

log = logging.getLogger(__name__)

_INTERVAL = 5.0
"""Seconds between two shipments. MLflow's Python takes turns with the training's: at one shipment
a second it cost a small model 2 % of its time."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 10.0
_SAMPLING_INTERVAL = 10.0


class Uploader:
    """Ships in the background, with longer and longer pauses while the store does not answer.

    Once the store has answered, it also ends the runs there whose processes died.

    Args:
        shipper: what is called again and again.
        sample: called at once and then every ten seconds, for metrics of the machine.
        address: the store's, for messages.
    """

    def __init__(self, shipper: Shipper, sample: Callable[[], None], address: str) -> None:
        self._shipper = shipper
        self._sample = sample
        self._address = redacted(address)
        self._last_sample = -math.inf
        self._failure: str | None = None
        self._stopping = threading.Event()
        self._gave_up = threading.Event()
        self._answered = threading.Event()
        shipper.on_run = self._answered.set
        # A daemon: a store that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow uploader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run_id(self, patience: float) -> str | None:
        """Return the MLflow run, after waiting for the store's first answer; None without one."""
        self._answered.wait(patience)
        return self._shipper.run_id

    @property
    def experiment_id(self) -> str | None:
        """The MLflow experiment; None until the store has answered."""
        return self._shipper.experiment_id

    def stop(self, patience: float) -> str | None:
        """Send what is left, for some seconds; return what is wrong and what to do about it."""
        self._stopping.set()
        with announced_wait(f"MLflow at {self._address}, to take what is left"):
            self._thread.join(patience)
        # Whoever sends the rest later must be alone with it.
        self._gave_up.set()
        unsent = self._shipper.pending()
        if not unsent:
            return None
        cause = self._failure or f"{self._address} was too slow to take them in {patience:.0f} s"
        later = f"python -m rlexp sync {shlex.quote(str(self._shipper.folder))}"
        return f"{unsent} events are not in MLflow ({cause}). Send them later: {later}"

    def _work(self) -> None:
        # while the run lives
        pause, closed_dead_runs = _FIRST_PAUSE, False
        while not self._stopping.is_set():
            sent = self._try_to_ship()
            if sent and not closed_dead_runs:
                closed_dead_runs = True
                self._close_dead_runs()
            pause = _FIRST_PAUSE if sent else min(2 * pause, _LONGEST_PAUSE)
            self._stopping.wait(_INTERVAL if sent else pause)
        # what the run told last, with a second attempt unless `stop` has run out of patience
        if not self._try_to_ship() and not self._gave_up.wait(_FIRST_PAUSE):
            self._try_to_ship()

    def _try_to_ship(self) -> bool:
        """Send what is there; return whether that was all.

        Whatever goes wrong between this machine and the store must not reach the training: it is
        told once, and tried again.
        """
        try:
            is_due = time.monotonic() - self._last_sample >= _SAMPLING_INTERVAL
            if is_due and not self._stopping.is_set():
                self._last_sample = time.monotonic()
                self._sample()
            self._shipper.ship(self._gave_up.is_set)
        except Exception as error:
            what = "no files" if isinstance(error, FilesDeferred) else "nothing"
            failure = f"{self._address}: {cause_of(error)}"
            if self._failure is None:
                text = "MLflow takes %s for now; the run goes on, its spool keeps everything. %s"
                log.warning(text, what, failure)
            self._failure = failure
            return False
        finally:
            # An error is an answer too: whoever waits for the run's id need not wait longer.
            self._answered.set()
        if self._failure is not None:
            log.warning("MLflow takes what is sent again: %s", self._address)
            self._failure = None
        return True

    def _close_dead_runs(self) -> None:
        """End dead runs, which is no part of this one: what fails is told and left for the next."""
        try:
            close_dead_runs(self._shipper, self._stopping.is_set)
        except Exception as error:
            log.warning("A run that died could not be ended in MLflow: %s", cause_of(error))
