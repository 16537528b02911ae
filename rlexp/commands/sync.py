"""Send to MLflow what a run could not send, and end the runs that died

`python -m rlexp sync [FOLDER …] [tracking.uri=URI] [tracking.experiment=NAME]` takes runs, sweeps
and folders of them; without any, whatever stands below `outputs/` and `multirun/`. Each run's
events go where its config says, unless a store is named. What MLflow has already is not sent again.

It exits with 0 when everything that may be sent is there, with 1 when a store does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlexp.cli.arguments import Parser
from rlexp.runtime.lock import Held, is_held, lock
from rlexp.runtime.run_folder import SENT, SPOOL
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.secrets import redacted
from rlexp.tracking.spool.dead_runs import SpoolStatus, close_dead_run
from rlexp.tracking.spool.shipper import FilesDeferred, Shipper, cause_of, tracking_address
from rlexp.tracking.spool.spool import UploadState, torn_lines
from rlexp.tracking.store.connection import KEY, resolve

PLACES = ("outputs", "multirun")
PATIENCE = 30.0
"""Seconds for a store to open; one that makes its tables first needs some."""


@dataclass(frozen=True)
class Outcome:
    """What became of one spool."""

    text: str
    status: int = 0


def run(argv: list[str]) -> int:
    """Send, and say for each run what went over, what stays and why; return the exit status.

    Raises `UserError` for a folder without runs, or an address that can never work.
    """
    store, folders = _folders(argv)
    if not folders:
        print(f"Nothing to send: no run stands below {' or '.join(f'{p}/' for p in PLACES)}.")
        return 0
    unreachable: dict[str, str] = {}
    outcomes = []
    for folder in folders:
        outcome = _sync(folder, store, unreachable)
        if outcome is not None:
            print(f"{folder}: {outcome.text}", flush=True)
            outcomes.append(outcome.status)
    if not outcomes:
        print(f"Nothing to send: {len(folders)} runs, and MLflow has all of them.")
    return max(outcomes, default=0)


def _folders(argv: list[str]) -> tuple[tuple[str | None, str | None], list[Path]]:
    """Return the store that was named, if one was, and the folders that hold spools."""
    parser = Parser("sync", __doc__)
    parser.add_argument("words", nargs="*", metavar="FOLDER")
    words: list[str] = parser.parse_args(argv).words
    store = {
        key: word.partition("=")[2].strip("'\"")
        for word in words
        for key in (KEY, "tracking.experiment")
        if word.startswith(f"{key}=")
    }
    roots = [Path(word) for word in words if not word.startswith("tracking.")]
    problems = [
        Problem(word, "a key", f"{KEY}=… or tracking.experiment=…")
        for word in words
        if word.startswith("tracking.") and word.partition("=")[0] not in store
    ]
    spools = {root: list(root.rglob(SPOOL)) for root in roots or map(Path, PLACES)}
    want = f"the folder of a run or a sweep, which holds {SPOOL}"
    remedy = "Without a folder, everything below outputs/ and multirun/ is sent."
    for root in roots:
        if not spools[root]:
            got = "a folder without a run" if root.is_dir() else "no folder"
            problems.append(Problem(str(root), got, want, remedy))
    uri = store.get(KEY)
    try:
        uri = resolve(uri) if uri else None
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    # A sweep before its trials, which stand below it in MLflow too.
    folders = sorted({spool.parent for below in spools.values() for spool in below})
    return (uri, store.get("tracking.experiment")), folders


def _sync(
    folder: Path, store: tuple[str | None, str | None], unreachable: dict[str, str]
) -> Outcome | None:
    """Send a folder's spool; return what became of it, None where there was nothing to do.

    Stores that are `unreachable`, for the reason there, are asked once.
    """

    is_behind = UploadState.load(folder / SENT).is_behind(folder / SPOOL)
    if not is_behind and SpoolStatus.read(folder).ended:
        return None
    if is_held(folder):
        return Outcome("is alive and sends its events itself")
    try:
        uri, experiment = store
        if not (uri and experiment):
            own_uri, own_experiment = tracking_address(folder)
            uri, experiment = uri or own_uri, experiment or own_experiment
    except UserError as error:
        return Outcome(f"stays here: {error}", UserError.exit_status)
    if uri is None:
        return None  # tracking=none: its spool is all there is to be
    try:
        with lock(folder):
            return _send(folder, uri, experiment, unreachable)
    except Held as held:
        return Outcome(f"{held.process} is sending it")
    except OSError as error:  # a folder that cannot be written, a disk that is full
        return Outcome(f"stays here: {redacted(str(error))}", 1)


def _send(folder: Path, uri: str, experiment: str, unreachable: dict[str, str]) -> Outcome | None:
    life = SpoolStatus.read(folder)
    if not life.ended and not life.ran_on_this_machine:
        where = life.host or "a machine that its spool no longer names"
        return Outcome(f"ran on {where}, and may be alive there: call sync on that machine")
    died = close_dead_run(folder)
    shipper = Shipper(folder, uri, experiment)
    before, refused, why = shipper.pending(), shipper.refused, unreachable.get(uri, "")
    try:
        if not why:
            shipper.open(PATIENCE)
            shipper.ship()
    except Exception as error:  # each kind of store has errors of its own
        why = f"{redacted(uri)}: {cause_of(error)}"
        # Of this run alone: the store may well take others.
        unknown = getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
        if not unknown and not isinstance(error, (FilesDeferred, RuntimeError)):
            unreachable[uri] = why
    left = shipper.pending()
    parts = ["had died and is ended now"] if died else []
    parts.append(f"{before - left} events sent to {redacted(uri)}")
    if left:
        parts.append(f"{left} stay here ({why})")
    if shipper.refused > refused:
        parts.append(f"{shipper.refused - refused} of them MLflow will never take")
    if torn := torn_lines(folder / SPOOL):
        parts.append(f"{torn} cannot be read: a kill or a power cut tore them")
    return Outcome(", ".join(parts), 1 if left else 0)
