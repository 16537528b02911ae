"""Removal of runs: checkpoints, folder, artifacts, logged models, and at last the MLflow run.

The MLflow run goes last, so that a removal which was interrupted is found by the same words and
finished. What stays in the data base are numbers, marked as deleted, until `mlflow gc`.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rlexp.runtime.lock import Held, lock
from rlexp.runtime.run_folder import CHECKPOINTS, CONFIG, PARENT, SPOOL
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.provenance.environment import HOST_TAG
from rlexp.tracking.query.records import Record, Records
from rlexp.tracking.store.read_only import all_pages, store_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel


@dataclass(frozen=True)
class Removal:
    """What is removed with one run."""

    record: Record
    folder: Path | None
    """None when it is not on this machine, or is kept."""
    folder_bytes: int
    checkpoints: int
    artifact_uri: str | None
    artifact_bytes: int
    models: Sequence[LoggedModel]


def plan_removal(records: Records, chosen: Sequence[Record], *, keep_folder: bool) -> list[Removal]:
    """Return what goes with each run, a sweep's trials before the sweep; nothing is changed.

    Raises `UserError` for all runs that are alive, that registered models come from, or whose
    folder is not what it should be.
    """
    going: dict[str, Record] = {}
    for record in chosen:
        trials = records.trials(record) if record.is_sweep else []
        going |= {run.run_id: run for run in [*trials, record]}
    runs = sorted(going.values(), key=lambda record: record.is_sweep)
    folders = {run.run_id: run.local_folder for run in runs}
    removed_folders = {folder.resolve() for folder in folders.values() if folder}
    problems: list[Problem] = []
    for run in runs:
        folder = folders[run.run_id]
        problems += _alive_problems(run, folder)
        problems += _registered_problems(records, run)
        if folder and not keep_folder:
            problems += _folder_problems(run, folder, removed_folders)
    if problems:
        raise UserError(problems)
    return [_removal(records, run, None if keep_folder else folders[run.run_id]) for run in runs]


def remove(records: Records, removal: Removal) -> list[str]:
    """Remove one run, from files to the MLflow run; return what had to stay, in words.

    Raises `UserError` where somebody has come alive on the folder, or the store does not answer.
    """
    run = removal.record
    kept = []
    if removal.folder:
        # Renamed before anything is removed: a folder that is half gone does not look like a run's.
        try:
            with lock(removal.folder):
                removal.folder.rename(_renamed(removal.folder, run))
        except Held as held:
            raise UserError(Problem(run.name, str(held), "a run that has ended")) from held
    # It may also be what an interrupted removal has left.
    if run.folder and (renamed := _renamed(run.folder, run)).is_dir():
        shutil.rmtree(renamed)
    client = records.client
    with store_errors(records.uri):
        for model in removal.models:
            kept += _remove_artifacts(records, model.artifact_location, model.model_id)
            client.delete_logged_model(model.model_id)
        if removal.artifact_uri:
            kept += _remove_artifacts(records, removal.artifact_uri, run.run_id)
        client.delete_run(run.run_id)
    return kept


def _alive_problems(run: Record, folder: Path | None) -> Iterator[Problem]:
    if not run.may_be_alive:
        return
    place = folder or run.tags.get(HOST_TAG) or "another machine"
    remedy = "End it; if it is dead, `python -m rlexp sync` there tells MLflow so."
    yield Problem(run.name, f"a run that may be alive: {place}", "a run that has ended", remedy)


def _registered_problems(records: Records, run: Record) -> Iterator[Problem]:
    with store_errors(records.uri):
        versions = records.client.search_model_versions(f"run_id = '{run.run_id}'")
    for version in versions:
        got = f"the run of the registered model {version.name}, version {version.version}"
        remedy = "Delete that version first, on MLflow's page, if nobody needs it."
        yield Problem(run.name, got, "a run that no registered model comes from", remedy)


def _folder_problems(run: Record, folder: Path, removed_folders: set[Path]) -> Iterator[Problem]:
    remedy = "Remove it by hand, and the run with --keep-folder."
    if folder.is_symlink():
        got = f"{folder}, a link to {folder.resolve()}"
        yield Problem(run.name, got, "a folder of its own", remedy)
    elif run.is_sweep:
        others = [spool.parent for spool in folder.glob(f"*/{SPOOL}")]
        others = [other.name for other in others if other.resolve() not in removed_folders]
        if others:
            got = f"{folder}, which holds runs that are not in this store: {', '.join(others)}"
            remedy = (
                f"Send them: python -m rlexp sync {shlex.quote(str(folder))}, or use --keep-folder."
            )
            yield Problem(run.name, got, "a sweep's folder", remedy)
        elif not (folder / PARENT).is_file():
            yield Problem(run.name, f"{folder} without {PARENT}", "a sweep's folder", remedy)
    elif not (folder / CONFIG).is_file():
        yield Problem(run.name, f"{folder} without {CONFIG}", "a run's folder", remedy)


def _removal(records: Records, run: Record, folder: Path | None) -> Removal:
    client = records.client
    of_run = f"source_run_id = '{run.run_id}'"
    search = client.search_logged_models
    files = folder.rglob("*") if folder else ()
    with store_errors(records.uri):
        models = list(all_pages(search, [run.experiment_id], filter_string=of_run))
        artifact_uri = client.get_run(run.run_id).info.artifact_uri
        artifact_bytes = _artifact_bytes(records, run.run_id)
    return Removal(
        record=run,
        folder=folder,
        folder_bytes=sum(path.lstat().st_size for path in files if not path.is_dir()),
        checkpoints=len(list(folder.glob(f"{CHECKPOINTS}/step-*"))) if folder else 0,
        artifact_uri=artifact_uri,
        artifact_bytes=artifact_bytes,
        models=models,
    )


def _artifact_bytes(records: Records, run_id: str, folder: str | None = None) -> int:
    size = 0
    for file in records.client.list_artifacts(run_id, folder):
        size += _artifact_bytes(records, run_id, file.path) if file.is_dir else file.file_size or 0
    return size


def _renamed(folder: Path, run: Record) -> Path:
    return folder.with_name(f".removed-{run.run_id}")


def _remove_artifacts(records: Records, uri: str, owner: str) -> Iterator[str]:
    """Remove artifacts of a run or a model, each below a folder named by its id.

    A store says where they are; a file's address that does not name their owner is not believed.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    parts = urlsplit(uri)
    is_local = parts.scheme in ("", "file")
    place = Path(unquote(parts.path))
    if is_local and owner not in place.parts:
        yield f"{place}: MLflow says that artifacts of {owner} are there, and it does not look so"
        return
    get_artifact_repository(uri, tracking_uri=records.uri).delete_artifacts()
    is_empty = is_local and place.parent.is_dir() and not any(place.parent.iterdir())
    if is_empty and place.parent.name == owner:
        place.parent.rmdir()
