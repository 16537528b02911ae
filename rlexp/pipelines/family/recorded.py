"""A pipeline as its `pipeline.json` tells it, also where none of it is running any more."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlexp.runtime.run_folder import PIPELINE

MODEL_PARENT = "model.path"
"""The key by which a stage goes on with another one's model."""
ENDED = ("finished", "used")
"""States of a stage that has come to its end: here and now, or before."""
_STAGES = "stages"


@dataclass(frozen=True)
class RecordedStage:
    """A stage: a run, made by this pipeline or found; or the one of several that was chosen."""

    name: str
    key: str
    """Digest of all that decides what comes of it."""
    folder: Path
    """The run's; one that is not there, until it has ended."""
    run_id: str
    algo: str
    """The algorithm's name; `choice` where it is no run."""
    state: str
    """finished, used (it was there), running, failed or waiting."""
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The stages that it uses, by the key of its config that does."""
    round: int | None = None
    """Which turn of a loop it belongs to."""
    seconds: float | None = None
    """Wall-clock seconds; None until it has ended."""
    chosen: str | None = None
    """Of a choice: the stage that it is."""

    @property
    def began_with(self) -> str | None:
        """The stage whose model it goes on with; None where it begins with a base."""
        return next(iter(self.parents.get(MODEL_PARENT, ())), None)

    @property
    def parent(self) -> str | None:
        """The stage that it hangs on in the family tree: that, or the first that it uses at all."""
        return self.chosen or self.began_with or next(self._used(), (None, None))[1]

    def others(self) -> list[tuple[str, str]]:
        """Return what else it uses: keys, and the stages."""
        return [(key, name) for key, name in self._used() if name != self.parent]

    def _used(self) -> Any:
        return ((key, name) for key, names in self.parents.items() for name in names)


@dataclass(frozen=True)
class RecordedPipeline:
    """A pipeline, as far as it came."""

    name: str
    status: str
    run_id: str
    words: list[str]
    """Of the command line."""
    stages: list[RecordedStage]
    """In the order in which they run."""

    @classmethod
    def read(cls, folder: Path) -> RecordedPipeline:
        """Read a pipeline's folder.

        Raises:
            FileNotFoundError: it is none.
        """
        content = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
        return cls(
            name=content["name"],
            status=content["status"],
            run_id=content["run_id"] or "",
            words=content["words"],
            stages=[_stage(stage, folder) for stage in content["stages"]],
        )


def _stage(content: dict[str, Any], pipeline: Path) -> RecordedStage:
    folder = content["folder"] or Path("outputs") / _STAGES / content["key"][:16]
    parents = {key: tuple(names.split(", ")) for key, names in content["parents"].items()}
    return RecordedStage(
        name=content["name"],
        key=content["key"],
        folder=_here(Path(folder), pipeline),
        run_id=content["run_id"] or "",
        algo=content["algo"] or "choice",
        state=content["state"],
        parents=parents,
        round=content["round"],
        seconds=content["seconds"],
        chosen=content.get("chosen"),
    )


def _here(folder: Path, pipeline: Path) -> Path:
    """Return where a stage's folder is, also after `outputs/` was moved: beside the pipelines'."""
    moved = pipeline.absolute().parent.parent / _STAGES / folder.name
    return moved if not folder.is_dir() and moved.is_dir() else folder
