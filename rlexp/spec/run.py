"""The specification of a whole run: every part validated, and the parts checked against each other.

`RunSpec.parse` reports all mistakes of a config at once, and imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializeAsAny

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.checks import CHECKS
from rlexp.spec.components import component_of
from rlexp.spec.curriculum import CurriculumSpec
from rlexp.spec.data import DataSpec
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.eval import EvalSpec
from rlexp.spec.guards import GuardsSpec
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.keys import key_paths, with_current_names, with_later_keys, without_missing
from rlexp.spec.model import ModelSpec
from rlexp.spec.part import Component, Part
from rlexp.spec.peft import PeftSpec
from rlexp.spec.reward import RewardSpec
from rlexp.spec.scoring import ScoringSpec
from rlexp.spec.tracking import TrackingSpec
from rlexp.spec.train import TrainSpec
from rlexp.spec.validation import unknown_key, validate

PARTS: dict[str, Any] = {
    "train": TrainSpec,
    "scoring": ScoringSpec,
    "model": ModelSpec,
    "peft": PeftSpec,
    "hardware": HardwareSpec,
    "eval": EvalSpec,
    "guards": GuardsSpec,
    "tracking": TrackingSpec,
}
COMPONENTS: dict[str, type[Component]] = {
    "algo": AlgoSpec,
    "data": DataSpec,
    "reward": RewardSpec,
    "curriculum": CurriculumSpec,
}


class Basics(Part):
    """The keys that stand by themselves."""

    seed: int = Field(ge=0, lt=2**32)
    """Of everything random: sampling, shuffling, initialisation, dropout."""
    name: str = Field(min_length=1)
    """The run's name in tables and in MLflow."""


class RunSpec(Basics):
    """All that decides what a run does."""

    train: TrainSpec
    """How it is optimised."""
    algo: SerializeAsAny[AlgoSpec]
    """By which algorithm."""
    model: ModelSpec
    """What is trained."""
    peft: PeftSpec
    """Through which adapter, if any."""
    data: SerializeAsAny[DataSpec]
    """On what."""
    reward: SerializeAsAny[RewardSpec]
    """What counts as good."""
    curriculum: SerializeAsAny[CurriculumSpec]
    """In which order, and how often, its training rows are drawn."""
    scoring: ScoringSpec
    """What is forgiven to the reward, and where it runs."""
    hardware: HardwareSpec
    """Where."""
    eval: EvalSpec
    """How it is judged."""
    guards: GuardsSpec
    """What is watched while it trains."""
    tracking: TrackingSpec
    """Where that is recorded."""

    @classmethod
    def parse(cls, config: dict[str, Any], known: list[str] | None = None) -> RunSpec:
        """The spec of a composed, resolved config.

        Args:
            config: plain dictionaries, as `OmegaConf.to_container(resolve=True)` gives.
            known: full paths of all keys that exist, for the nearest right name.

        Raises:
            UserError: with every mistake that the config shows.
        """
        names = known or list(key_paths(config))
        problems: list[Problem] = []
        config = without_missing(with_later_keys(with_current_names(config)))
        basics = {key: config[key] for key in Basics.model_fields if key in config}
        parts: dict[str, Any] = {"": validate(Basics, basics, "", names, problems)}
        for key, kind in PARTS.items():
            parts[key] = validate(kind, config.get(key), key, names, problems)
        for key, base in COMPONENTS.items():
            parts[key] = component_of(config.get(key), base, key, names, problems)
        expected = {*Basics.model_fields, *PARTS, *COMPONENTS}
        problems += [unknown_key(key, [*names, *expected]) for key in config if key not in expected]
        for needed, check in CHECKS:
            if all(parts[key] is not None for key in needed):
                try:
                    problems += check(*(parts[key] for key in needed))
                except UserError as error:  # a source that looked into its file
                    problems += error.problems
        if problems:
            raise UserError(problems)
        basics_part = parts.pop("")
        return cls.model_construct(**basics_part.model_dump(), **parts)
