"""`pipeline.json`: what a pipeline's folder says of its stages, in the order in which they run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PIPELINE = "pipeline.json"
"""In a pipeline's folder: its stages."""
MODEL_PARENT = "model.path"
"""The key by which a stage goes on with another one's model."""
_STAGES = Path("stages")


@dataclass(frozen=True)
class StageRecord:
    """A stage: one run, made by this pipeline or found."""

    name: str
    key: str
    """Digest of all that decides what comes of it."""
    folder: Path
    """The run's."""
    run_id: str
    algo: str
    """The algorithm's name."""
    state: str
    """finished, used (it was there), failed or waiting."""
    parents: dict[str, str] = field(default_factory=dict)
    """The stages that it uses, by the key of its config that does."""
    round: int | None = None
    """Which turn of a loop it belongs to."""
    seconds: float | None = None
    """Wall-clock seconds; None until it has ended."""

    @property
    def parent(self) -> str | None:
        """The stage whose model it goes on with; without one, the first that it uses at all."""
        return self.parents.get(MODEL_PARENT) or next(iter(self.parents.values()), None)


@dataclass(frozen=True)
class PipelineRecord:
    """A pipeline, as far as it came."""

    name: str
    status: str
    run_id: str
    words: list[str]
    """Of the command line."""
    report_on: list[str]
    stages: list[StageRecord]

    @classmethod
    def read(cls, folder: Path) -> PipelineRecord:
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
            report_on=content["report_on"] or [],
            stages=[_stage(stage, folder) for stage in content["stages"]],
        )


def _stage(content: dict[str, Any], pipeline: Path) -> StageRecord:
    return StageRecord(
        name=content["name"],
        key=content["key"],
        folder=_here(Path(content["folder"]), pipeline),
        run_id=content["run_id"] or "",
        algo=content["algo"],
        state=content["state"],
        parents=content["parents"],
        round=content["round"],
        seconds=content["seconds"],
    )


def _here(folder: Path, pipeline: Path) -> Path:
    """Return where a stage's folder is, also after `outputs/` was moved: beside the pipelines'."""
    moved = pipeline.absolute().parent.parent / _STAGES / folder.name
    return moved if not folder.is_dir() and moved.is_dir() else folder


def evaluations_needed(stages: Sequence[StageRecord], policies: Sequence[str]) -> dict[str, str]:
    """Return the evaluations against the base that a report wants: their names, and the stages'.

    Stages that begin with the base itself are measured against it by their own cards. An evaluation
    is a run of `python -m rlexp evaluate STAGE --against BASE` with the data, `eval` and gold
    rewards of the last stage, and a reward that no stage made.

    Args:
        stages: in their order.
        policies: names of those that train a model that writes.
    """
    wanted = [stage for stage in stages if stage.name in policies and MODEL_PARENT in stage.parents]
    return {f"{stage.name}@base": stage.name for stage in wanted}
