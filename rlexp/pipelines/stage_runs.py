"""Runs of stages: where they lie, whether they are finished, and what they were made of.

A stage's run lies in `outputs/stages/`, in a folder named by the beginning of its key. So any
pipeline that needs the same stage looks for it in the same place. Where it is not there, the
tracking store is asked for a finished run with the key, whose folder may lie elsewhere on this
disk, or whose model may be among its artifacts.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.pipelines.planning.planned import PlannedStage
from rlexp.pipelines.stage_key import Ingredients, StageKey, differing_ingredients
from rlexp.runtime.files import write_atomically
from rlexp.runtime.run_folder import CARD, CONFIG, MODEL, SPOOL
from rlexp.spec.errors import UserError
from rlexp.tracking.query.conditions import by_tag
from rlexp.tracking.query.records import Records
from rlexp.tracking.spool.history import RunHistory
from rlexp.tracking.store.connection import resolve

if TYPE_CHECKING:
    from rlexp.tracking.query.record import Record

STAGES = Path("outputs/stages")
"""Folder of the stages' runs, below the current one."""
LOCKS = "locks"
"""In it: a folder a stage, whose lock is held by the pipeline that runs the stage."""
INGREDIENTS = "stage.json"
"""In a stage's folder: what its key was made of."""
KEY_TAG, STAGE_TAG, PIPELINE_TAG = "stage_key", "stage", "pipeline"
"""Tags of a stage's MLflow run."""
_DIGITS = 16
_ARTIFACTS = (CARD, CONFIG)


@dataclass(frozen=True)
class StageRun:
    """A run that has the key of a stage, or had nearly the same."""

    folder: Path
    card: dict[str, Any]

    @property
    def run_id(self) -> str:
        return str(self.card["run_id"])

    @property
    def seconds(self) -> float:
        """Seconds that it took in all."""
        return float(self.card["total_seconds"] or 0.0)


@dataclass(frozen=True)
class Earlier:
    """The run of a stage before that differs least, and how."""

    run: StageRun
    changes: dict[str, tuple[Any, Any]]


def folder_of(key: str) -> Path:
    """Return the folder of the stage with a key."""
    return (STAGES / key[:_DIGITS]).absolute()


def lock_folder(key: str) -> Path:
    """Return the folder whose lock is held while the stage runs; it is made."""
    folder = (STAGES / LOCKS / key[:_DIGITS]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def finished_run(stage: PlannedStage, key: str, uri: str | None) -> StageRun | None:
    """Return the finished run with a stage's key; None where there is none.

    Args:
        stage: the stage.
        key: its key.
        uri: address of the tracking store that is asked where the folder is not there.
    """
    return _finished_in(folder_of(key), stage) or _finished_in_store(stage, key, uri)


def write_ingredients(folder: Path, stage: PlannedStage, pipeline: str, key: StageKey) -> None:
    """Write what a stage's key was made of into its folder."""
    content = {
        "stage": stage.name,
        "pipeline": pipeline,
        "key": key.key,
        "parents": stage.parents,
        "ingredients": key.ingredients,
    }
    write_atomically(folder / INGREDIENTS, json.dumps(content, indent=1, default=str))


def earlier_run(stage: PlannedStage, pipeline: str, ingredients: Ingredients) -> Earlier | None:
    """Return the finished run of the same stage whose ingredients differ least; None without one.

    A stage of another pipeline counts where none of this one has run.
    """
    plain = json.loads(json.dumps(ingredients, default=str))
    candidates: list[tuple[bool, int, float, Earlier]] = []
    for file in STAGES.glob(f"*/{INGREDIENTS}"):
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["stage"] != stage.name or not (file.parent / CARD).is_file():
            continue
        card = json.loads((file.parent / CARD).read_text(encoding="utf-8"))
        differing = differing_ingredients(content["ingredients"], plain)
        earlier = Earlier(StageRun(file.parent.absolute(), card), differing)
        other = content["pipeline"] != pipeline
        candidates.append((other, len(differing), -file.stat().st_mtime, earlier))
    return min(candidates, key=lambda entry: entry[:3])[3] if candidates else None


def _finished_in(folder: Path, stage: PlannedStage) -> StageRun | None:
    card = folder / CARD
    if not card.is_file():
        return None
    history = RunHistory.read(folder / SPOOL) if (folder / SPOOL).is_file() else None
    finished = history.status == "FINISHED" if history else (folder / _FETCHED).is_file()
    needs_model = stage.made in ("policy", "reward model")
    if not finished or (needs_model and not (folder / MODEL).is_dir()):
        return None
    return StageRun(folder, json.loads(card.read_text(encoding="utf-8")))


def _finished_in_store(stage: PlannedStage, key: str, uri: str | None) -> StageRun | None:
    if uri is None:
        return None
    try:
        records = Records.open(resolve(uri))
    except UserError:  # no store yet: its first run makes it
        return None
    with records:
        for record in records.all(conditions=[by_tag(KEY_TAG, key)]):
            if record.status != "FINISHED":
                continue
            if (folder := record.local_folder) and (run := _finished_in(folder, stage)):
                return run
            if run := _downloaded(records, record, key, stage):
                return run
    return None


_FETCHED = "fetched"
"""In the folder of a run that came from the store: its id there."""


def _downloaded(records: Records, record: Record, key: str, stage: PlannedStage) -> StageRun | None:
    """Return a run whose artifacts hold all that a stage leaves, brought into its folder."""
    from mlflow.exceptions import MlflowException

    folder = folder_of(key)
    if folder.exists() or stage.made == "samples":
        return None
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        listed = {file.path for file in records.client.list_artifacts(record.run_id)}
        needed = {*_ARTIFACTS, MODEL} if stage.made != "evaluation" else {*_ARTIFACTS}
        if not needed <= listed:
            return None
        for name in sorted(needed):
            records.client.download_artifacts(record.run_id, name, str(draft))
    except MlflowException:
        return None
    else:
        (draft / _FETCHED).write_text(record.run_id, encoding="utf-8")
        draft.replace(folder)
        return _finished_in(folder, stage)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
