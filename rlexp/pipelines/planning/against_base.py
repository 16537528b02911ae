"""Evaluation of a stage's policy against the model that the pipeline began with.

Its own run compares it with the stage before; how far it has come in all is seen on the same
prompts against the base.
"""

from __future__ import annotations

from dataclasses import replace

from rlexp.pipelines.planning.definition import StageDefinition
from rlexp.pipelines.planning.planned import PlannedStage
from rlexp.spec.run import RunSpec

SUFFIX = "@base"
MODEL = "algo.model"


def evaluation_of(stage: PlannedStage) -> PlannedStage:
    """Return the stage that evaluates a stage's policy against its base."""
    assert stage.config and stage.spec
    name = f"{stage.name}{SUFFIX}"
    algo = {
        "_target_": "rlexp.algos.evaluate.Evaluate",
        "name": "evaluate",
        "learning_rate": None,
        "model": stage.begins_with,
        "of_run": False,
        "trl": {},
    }
    config = {
        **stage.config,
        "algo": algo,
        "model": {**stage.config["model"], "path": stage.begins_with},
        "train": {**stage.config["train"], "best_metric": None},
        "eval": {**stage.config["eval"], "every": 0, "best_of": 0},
    }
    definition = StageDefinition(name, name, {}, stage.definition.round)
    return replace(
        stage,
        definition=definition,
        parents={MODEL: (stage.name,)},
        made="evaluation",
        config=config,
        spec=RunSpec.parse(config),
    )
