"""From the spool to MLflow, in order.

What has been sent is remembered after each step, and every step may safely be taken twice. So a
process that dies between MLflow's answer and its own note, or another process that goes on later
from the two files, doubles nothing.

Artifacts may lie in a store of their own, which can be away while MLflow itself answers. Then they
are put aside, and everything behind them is sent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlexp.runtime.files import fsync_path
from rlexp.runtime.run_folder import SENT, SPOOL
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.mlflow_writer import Event, MlflowWriter
from rlexp.tracking.spool.spool import UploadState, read_events
from rlexp.tracking.store.connection import Store, connect, prepare_environment

_METRICS_A_CALL = 1000

_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")
"""Answers that will be the same the next time."""
_TOO_LARGE = 413
_FILES = ("artifact", "table")
"""Events that go to the artifact store."""

log = logging.getLogger(__name__)


class FilesWait(Exception):
    """MLflow answers and has the rest, but its artifact store takes no files for now."""


class Shipper:
    """Sends the spool in `folder` to the experiment of a resolved tracking address."""

    def __init__(self, folder: Path, uri: str, experiment: str) -> None:
        prepare_environment()
        self.folder = folder
        self._spool = folder / SPOOL
        self.uri = uri
        self.experiment = experiment
        self._delivery: MlflowWriter | None = None
        self.store: Store | None = None
        """The store; None until it has been opened."""
        self.on_run: Callable[[], None] = lambda: None
        """Called when the MLflow run is known."""
        self._sent = UploadState.load(folder / SENT).checked(self._spool)

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until it exists."""
        return self._sent.run_id

    @property
    def experiment_id(self) -> str | None:
        """The MLflow experiment; None until the store has been opened."""
        return self.store.experiment_id if self.store else None

    @property
    def refused(self) -> int:
        """How many events MLflow would never take."""
        return self._sent.refused

    def pending(self) -> int:
        """How many events of the spool MLflow does not have yet."""
        behind = sum(1 for _ in read_events(self._spool, self._sent.offset))
        return len(self._sent.aside) + behind

    def open(self, patience: float) -> None:
        """Open the store before the first shipment, for those who cannot wait for ever.

        Raises:
            TimeoutError: it has not answered within `patience` seconds. A data base that hangs
                cannot be interrupted, only left.
            Exception: what MLflow raises.
        """
        failures: list[Exception] = []

        def work() -> None:
            try:
                self._open()
            except Exception as error:
                failures.append(error)

        opening = threading.Thread(target=work, name="mlflow opening", daemon=True)
        opening.start()
        opening.join(patience)
        if opening.is_alive():
            raise TimeoutError(f"no answer within {patience:.0f} s")
        if failures:
            raise failures[0]

    def ship(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Send all that the spool holds by now.

        Args:
            enough: asked between two steps; True leaves the rest for later.

        Raises:
            FilesWait: only files are left, which the artifact store does not take.
            Exception: what MLflow raises. Call again to go on.
        """
        self._open()
        failure = self._ship_aside(enough)
        behind = _batches(read_events(self._spool, self._sent.offset))
        for batch, end in behind:
            if enough():
                return
            fsync_path(
                self._spool
            )  # MLflow must not have what a power cut could still take from it
            files = batch[0]["kind"] in _FILES
            if files and failure is not None:
                self._put_aside(end)
                continue
            try:
                self._send(batch)
            except Exception as error:
                if not files:
                    raise
                self._open().probe()
                self._put_aside(end)
                failure = error
            else:
                self._remember(self._sent.at(end, self._spool))
        if failure is not None:
            raise FilesWait(f"{len(self._sent.aside)} files wait") from failure

    def _ship_aside(self, enough: Callable[[], bool]) -> Exception | None:
        """Send what waits for the artifact store; what went wrong, if it still takes nothing."""
        while self._sent.aside and not enough():
            event, _ = next(read_events(self._spool, self._sent.aside[0]))
            try:
                self._send([event])
            except Exception as error:
                self._open().probe()
                return error
            self._remember(replace(self._sent, aside=self._sent.aside[1:]))
        return None

    def _put_aside(self, end: int) -> None:
        begin = self._sent.offset
        self._remember(replace(self._sent.at(end, self._spool), aside=(*self._sent.aside, begin)))

    def _remember(self, sent: UploadState) -> None:
        self._sent = sent
        sent.save(self.folder / SENT)

    def _open(self) -> MlflowWriter:
        if self._delivery is None:
            store = connect(self.uri, self.experiment)
            if self._sent.run_id is not None and not _has(store, self._sent.run_id):
                self._remember(UploadState())  # another store than before gets the whole run
            self.store = store
            self._delivery = MlflowWriter(
                store, self.folder, self._sent.run_id, look_first=self._sent.lost
            )
        return self._delivery

    def _send(self, batch: list[Event]) -> None:
        delivery = self._open()
        try:
            delivery.deliver(batch)
        except Exception as error:
            if batch[0]["kind"] == "start" or not _is_refused(batch[0], error):
                raise
            delivery.probe()  # it may be a gateway that answers, and no MLflow
            if len(batch) > 1:
                for event in batch:
                    self._send([event])
            else:
                log.warning("MLflow does not take %s: %s", _named(batch[0]), redacted(str(error)))
                self._remember(replace(self._sent, refused=self._sent.refused + 1))
        if batch[0]["kind"] == "start":
            self._remember(replace(self._sent, run_id=delivery.run_id, lost=delivery.look_first))
            self.on_run()


def _has(store: Store, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _is_refused(event: Event, error: Exception) -> bool:
    """Whether the same would happen the next time."""
    if isinstance(error, FileNotFoundError):
        return event["kind"] == "artifact"
    answer: Any = getattr(error, "response", None)
    too_large = getattr(answer, "status_code", None) == _TOO_LARGE
    return too_large or getattr(error, "error_code", None) in _REFUSALS


def _batches(events: Iterable[tuple[Event, int]]) -> Iterator[tuple[list[Event], int]]:
    """Neighbouring metrics together, as many as one call takes; everything else by itself."""
    batch: list[Event] = []
    size = end = 0
    for event, offset in events:
        points = len(event["metrics"]) if event["kind"] == "metrics" else _METRICS_A_CALL + 1
        if batch and size + points > _METRICS_A_CALL:
            yield batch, end
            batch, size = [], 0
        batch.append(event)
        size, end = size + points, offset
    if batch:
        yield batch, end


def _named(event: Event) -> str:
    subject = event.get("file") or event.get("path") or event.get("name") or event.get("step")
    return f"the {event['kind']} {subject}" if subject is not None else f"the {event['kind']}"
