"""A pipeline's configs as text: what each stage would be run with."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from rlexp.pipelines.planning.planned import PlannedStage


def shown_config(stages: Sequence[PlannedStage]) -> str:
    """Return the stages' configs as yaml, by name, with `${stage:NAME}` for what others make."""
    from omegaconf import OmegaConf

    shown: dict[str, Any] = {}
    for stage in stages:
        if stage.config is None:
            choice = stage.choice
            assert choice
            shown[stage.name] = {
                "best_of": list(choice.stages),
                "metric": choice.metric,
                "mode": choice.mode,
            }
            continue
        config = deepcopy(stage.config)
        for key, names in stage.parents.items():
            references = [f"\\${{stage:{name}}}" for name in names]
            is_list = isinstance(_at(config, key), list)
            _set(config, key, references if is_list else references[0])
        shown[stage.name] = config
    return OmegaConf.to_yaml(OmegaConf.create(shown)).replace("\\$", "$")


def _at(config: dict[str, Any], key: str) -> Any:
    for name in key.split("."):
        config = config[name]
    return config


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    _at(config, ".".join(path))[last] = value
