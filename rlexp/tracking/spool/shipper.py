"""From the spool to MLflow, in order.

What has been sent is remembered after each step, and every step may safely be taken twice. So a
process that dies between MLflow's answer and its own note, or another process that goes on later
from the two files, doubles nothing.

Artifacts may lie in a store of their own, which can be away while MLflow itself answers. Then they
are deferred, and everything behind them is sent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlexp.runtime.files import fsync_path
from rlexp.runtime.run_folder import CONFIG, HYDRA_CONFIG, PIPELINE, SENT, SPOOL, SWEEP_CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.mlflow_writer import MlflowWriter
from rlexp.tracking.spool.spool import Event, UploadState, read_events
from rlexp.tracking.store.connection import Store, connect, prepare_environment, resolve
from rlexp.tracking.store.explanations import explained

_METRICS_A_CALL = 1000

_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")
"""Answers that will be the same the next time."""
_TOO_LARGE = 413
_FILES = ("artifact", "table")
"""Events that go to the artifact store."""

log = logging.getLogger(__name__)


class FilesDeferred(Exception):
    """MLflow answers and has the rest, but its artifact store takes no files for now."""


def cause_of(error: BaseException) -> str:
    """Return the innermost cause in a line: MLflow, requests and urllib3 each wrap it once more."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    text = redacted(str(error)).strip()
    if words := explained(text):
        return words
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"[:300]


def tracking_address(folder: Path) -> tuple[str | None, str]:
    """Return the resolved tracking address and the experiment of a run or a sweep, from its folder.

    The address is None for one that is not tracked. Raises `UserError` where the folder does not
    say, or what it says can never work.
    """
    tracking = _stored_setting(folder, CONFIG, "tracking")
    if tracking is not None:
        # Addresses of files are relative to where the command was typed.
        directory = _stored_setting(folder, HYDRA_CONFIG, "hydra.runtime.cwd")
        base = Path(directory) if directory else None
        return resolve(tracking.uri, base) if tracking.uri else None, tracking.experiment
    remedy = "Name the store: tracking.uri=URI tracking.experiment=NAME"
    wanted = f"a {CONFIG} that says where its events go"
    raise UserError(Problem(str(folder), "a spool alone", wanted, remedy))


def _stored_setting(folder: Path, file: str, key: str) -> Any:
    """Return a key of a file in a run's folder, or of what a sweep's or pipeline's has."""
    from omegaconf import OmegaConf

    for path in (folder / file, folder / SWEEP_CONFIG, folder / PIPELINE):
        if path.is_file() and (value := OmegaConf.select(OmegaConf.load(path), key)) is not None:
            return value
    return None


class Shipper:
    """Sends the spool in `folder` to the experiment of a resolved tracking address."""

    def __init__(self, folder: Path, uri: str, experiment: str) -> None:
        prepare_environment()
        self.folder = folder
        self._spool = folder / SPOOL
        self.uri = uri
        self.experiment = experiment
        self._writer: MlflowWriter | None = None
        self.store: Store | None = None
        """The store; None until it has been opened."""
        self.on_run: Callable[[], None] = lambda: None
        """Called when the MLflow run is known."""
        self._state = UploadState.load(folder / SENT).validated(self._spool)

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until it exists."""
        return self._state.run_id

    @property
    def experiment_id(self) -> str | None:
        """The MLflow experiment; None until the store has been opened."""
        return self.store.experiment_id if self.store else None

    @property
    def refused(self) -> int:
        """How many events MLflow would never take."""
        return self._state.refused

    def pending(self) -> int:
        """How many events of the spool MLflow does not have yet."""
        behind = sum(1 for _ in read_events(self._spool, self._state.offset))
        return len(self._state.aside) + behind

    def open(self, patience: float) -> None:
        """Open the store before the first shipment, for those who cannot wait for ever.

        Raises `TimeoutError` where it has not answered within `patience` seconds (a data base that
        hangs cannot be interrupted, only left), and what MLflow raises.
        """
        failures: list[Exception] = []

        def open_store() -> None:
            try:
                self._open_writer()
            except Exception as error:
                failures.append(error)

        opening = threading.Thread(target=open_store, name="mlflow opening", daemon=True)
        opening.start()
        opening.join(patience)
        if opening.is_alive():
            raise TimeoutError(f"no answer within {patience:.0f} s")
        if failures:
            raise failures[0]

    def ship(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Send all that the spool holds by now, unless `should_stop`, asked between steps, is true.

        Raises:
            FilesDeferred: only files are left, which the artifact store does not take.
            Exception: what MLflow raises. Call again to go on.
        """
        self._open_writer()
        # files that waited for their store
        failure = self._ship_deferred(should_stop)
        # what has been appended since
        for batch, end in _batches(read_events(self._spool, self._state.offset)):
            if should_stop():
                return
            # MLflow must not have what a power cut could still take from the spool.
            fsync_path(self._spool)
            is_file = batch[0]["kind"] in _FILES
            if is_file and failure is not None:
                # The store has failed just now: one attempt a shipment, since each may take long.
                self._defer(end)
                continue
            try:
                self._send(batch)
            except Exception as error:
                if not is_file:
                    raise
                # Is it the artifact store alone? If MLflow does not answer either, this raises and
                # nothing is deferred: the order stays as it is.
                self._open_writer().probe()
                self._defer(end)
                failure = error
            else:
                self._save(self._state.advanced_to(end, self._spool))
        if failure is not None:
            raise FilesDeferred(f"{len(self._state.aside)} files wait") from failure

    def try_to_ship(self, patience: float) -> str | None:
        """Open the store and send all; return in a line why it did not take it, if it did not."""
        try:
            self.open(patience)
            self.ship()
        except Exception as error:  # each kind of store has errors of its own
            return cause_of(error)
        return None

    def _ship_deferred(self, should_stop: Callable[[], bool]) -> Exception | None:
        """Send what waits for the artifact store; return what went wrong, if it takes nothing."""
        while self._state.aside and not should_stop():
            event, _ = next(read_events(self._spool, self._state.aside[0]))
            try:
                self._send([event])
            except Exception as error:
                self._open_writer().probe()
                return error
            self._save(replace(self._state, aside=self._state.aside[1:]))
        return None

    def _defer(self, end: int) -> None:
        """Note where the event that ends at `end` begins, and go on behind it."""
        deferred = (*self._state.aside, self._state.offset)
        self._save(replace(self._state.advanced_to(end, self._spool), aside=deferred))

    def _save(self, state: UploadState) -> None:
        self._state = state
        state.save(self.folder / SENT)

    def _open_writer(self) -> MlflowWriter:
        if self._writer is None:
            store = connect(self.uri, self.experiment)
            if self._state.run_id is not None and not _has_run(store, self._state.run_id):
                self._save(UploadState())  # another store than before gets the whole run
            self.store = store
            run_id, lost = self._state.run_id, self._state.lost
            self._writer = MlflowWriter(store, self.folder, run_id, check_existing=lost)
        return self._writer

    def _send(self, batch: list[Event]) -> None:
        """Send one step; an event that MLflow will never take is counted and passed over."""
        writer = self._open_writer()
        try:
            writer.deliver(batch)
        except Exception as error:
            if batch[0]["kind"] == "start" or not _is_refused(batch[0], error):
                raise
            writer.probe()  # it may be a gateway that answers, and no MLflow
            if len(batch) > 1:
                # One of them is refused, not all: find out which.
                for event in batch:
                    self._send([event])
            else:
                log.warning("MLflow does not take %s: %s", _label(batch[0]), redacted(str(error)))
                self._save(replace(self._state, refused=self._state.refused + 1))
        if batch[0]["kind"] == "start":
            self._save(replace(self._state, run_id=writer.run_id, lost=writer.check_existing))
            self.on_run()


def _has_run(store: Store, run_id: str) -> bool:
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
    response: Any = getattr(error, "response", None)
    too_large = getattr(response, "status_code", None) == _TOO_LARGE
    return too_large or getattr(error, "error_code", None) in _REFUSALS


def _batches(events: Iterable[tuple[Event, int]]) -> Iterator[tuple[list[Event], int]]:
    """Group neighbouring metrics, as many as one call takes; everything else goes by itself."""
    batch: list[Event] = []
    size = end = 0
    for event, offset in events:
        # Whatever is no metric fills a call, so that it shares it with nothing.
        points = len(event["metrics"]) if event["kind"] == "metrics" else _METRICS_A_CALL + 1
        if batch and size + points > _METRICS_A_CALL:
            yield batch, end
            batch, size = [], 0
        batch.append(event)
        size, end = size + points, offset
    if batch:
        yield batch, end


def _label(event: Event) -> str:
    subject = event.get("file") or event.get("path") or event.get("name") or event.get("step")
    return f"the {event['kind']} {subject}" if subject is not None else f"the {event['kind']}"
