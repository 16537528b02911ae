"""Evaluation of a stage's policy against the model that the pipeline began with.

Its own run compares it with the stage before; how far it has come in all is seen on the same
prompts against the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rlexp.config.stored import Config
from rlexp.launch.evaluation_config import evaluation_config
from rlexp.pipelines.planning.definition import StageDefinition
from rlexp.pipelines.planning.planned import PlannedStage
from rlexp.spec.run import RunSpec

SUFFIX = "@base"
MODEL = "algo.model"
DATA = "data.path"


def evaluation_of(stage: PlannedStage, stages: Mapping[str, PlannedStage]) -> PlannedStage:
    """Return the stage that evaluates a stage's policy against its base.

    One that learnt from samples is evaluated on the data whose prompts were sampled for.
    """
    assert stage.config
    name = f"{stage.name}{SUFFIX}"
    config = config_against_base(stage.config, stage.begins_with, stage.begins_with)
    source = stage
    while DATA in source.parents:
        source = stages[source.parents[DATA][0]]
    assert source.config
    config["data"] = source.config["data"]
    return replace(
        stage,
        definition=StageDefinition(name, name, {}, stage.definition.round),
        parents={MODEL: (stage.name,)},
        made="evaluation",
        config=config,
        spec=RunSpec.parse(config),
    )


def config_against_base(config: Config, base: str, model: str) -> Config:
    """Return the config by which a model is evaluated against the base.

    Args:
        config: of the stage that made the model: by its rewards and its evaluation.
        base: where the base is.
        model: where the model is.
    """
    reference = {**config["model"], "path": base}
    evaluation = {**config["eval"], "every": 0, "best_of": 0}
    return {**evaluation_config(config, reference, model, of_run=False), "eval": evaluation}
