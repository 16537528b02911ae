"""A pipeline that has been checked: its stages with their configs, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlexp.config.stored import Config
from rlexp.pipelines.planning.definition import StageChoice, StageDefinition
from rlexp.pipelines.planning.made import Made
from rlexp.spec.run import RunSpec

BASED_ON = "model.path"
"""The key that names the stage with whose policy another begins."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage whose words have been checked."""

    definition: StageDefinition
    parents: dict[str, tuple[str, ...]]
    """The stages that it uses, by the key that names them."""
    made: Made
    """What it leaves for others."""
    begins_with: str
    """`model.path` of the first of its ancestors: the model that nobody here has trained."""
    words: dict[str, str]
    """By key; those that name other stages hold references."""
    config: Config | None = None
    """As composed, with stand-ins; None for a choice among stages."""
    spec: RunSpec | None = None
    gold: dict[str, Any] = field(default_factory=dict)
    """Rewards that are measured beside the one that is trained on, for `eval.gold`."""

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def tracking_uri(self) -> str | None:
        """Address of the tracking store; None without one, and of a choice."""
        return self.spec.tracking.uri if self.spec else None

    @property
    def choice(self) -> StageChoice | None:
        """What it is chosen by, where it is no run."""
        return self.definition.choice


def with_gold(config: Config, gold: dict[str, Any]) -> Config:
    """Return a config whose evaluation measures these rewards too; what stands there stays."""
    evaluation = config["eval"]
    return {**config, "eval": {**evaluation, "gold": {**gold, **evaluation["gold"]}}}


@dataclass(frozen=True)
class PipelinePlan:
    """All stages of a pipeline in their order."""

    name: str
    words: tuple[str, ...]
    """As typed."""
    stages: tuple[PlannedStage, ...]
    search_path: Path | None = None
    """`--config-dir`."""

    def stage(self, name: str) -> PlannedStage:
        """Return a stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)
