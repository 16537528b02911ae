"""The ancestors of any run: the runs whose models, reward models and samples it began with.

A run's config names folders of other runs, whether a pipeline wired them or a person did. Where a
folder is gone, the run's tags in the tracking store still name the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlexp.config.stored import read_config
from rlexp.pipelines.family.recorded import MODEL_PARENT, RecordedStage
from rlexp.runtime.run_folder import CARD, CONFIG, SPOOL
from rlexp.spec.keys import key_values, value_at
from rlexp.tracking.query.folder_source import FolderRecords

PLACES = ("path", "heldout_path", "tokenizer", "teacher", "critic_path", "model")
"""Last names of keys that may name another run."""
_DEPTH = 3
"""Folders between a checkpoint and its run."""


@dataclass
class Lineage:
    """A run with its ancestors."""

    run: Path
    stages: list[RecordedStage] = field(default_factory=list)
    """Ancestors before those that use them; the run itself is the last."""
    base: str = "base"
    """The model that the eldest policy began with."""


def lineage_of(run: Path) -> Lineage:
    """Return the ancestors of the run in a folder.

    Raises:
        UserError: a config that cannot be read.
    """
    lineage = Lineage(run.resolve())
    names: dict[Path, str] = {}
    _climb(lineage.run, lineage, names)
    return lineage


def inputs_of(run: Path, config: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield the runs that a run's config names, with the keys."""
    for key, value in key_values(config):
        named = key.startswith("algo.teachers.") or key.rpartition(".")[2] in PLACES
        if named and not key.startswith("tracking."):
            for path in value if isinstance(value, list) else [value]:
                if isinstance(path, str) and (other := run_of(Path(path))) and other != run:
                    yield key, other


def run_of(path: Path) -> Path | None:
    """Return the run in whose folder a model, checkpoint or file lies; None where it is in none."""
    if not path.is_absolute():
        return None
    for place in (path, *path.parents[:_DEPTH]):
        if (place / CONFIG).is_file() and (place / SPOOL).is_file():
            return place.resolve()
    return None


def _climb(run: Path, lineage: Lineage, names: dict[Path, str]) -> str:
    """Add a run behind its ancestors; return its name in the lineage."""
    if run in names:
        return names[run]
    config = read_config(run / CONFIG)
    parents: dict[str, tuple[str, ...]] = {}
    for key, other in inputs_of(run, config):
        parents[key] = (*parents.get(key, ()), _climb(other, lineage, names))
    name = str(config["name"])
    if name in names.values():
        name = f"{name} ({run.name})"
    names[run] = name
    if MODEL_PARENT not in parents and not lineage.stages:
        lineage.base = str(value_at(config, "model.name"))
    record = FolderRecords().read(run)
    card = run / CARD
    seconds = json.loads(card.read_text(encoding="utf-8"))["total_seconds"] if card.is_file() else 0
    state = {"FINISHED": "finished", "RUNNING": "running"}.get(record.status, "failed")
    algo = str(value_at(config, "algo.name"))
    stage = RecordedStage(name, "", run, record.run_id, algo, state, parents, None, seconds)
    lineage.stages.append(stage)
    return name
