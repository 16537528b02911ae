"""A stage's key: a digest of all that decides what comes of it.

That is its resolved config without what cannot change the result, the digests of the rows, files
and weights that it names, the keys of the stages that it uses, the code of the rooms that decide
numbers, and the versions of the libraries that do. Each of these is an ingredient, kept beside the
stage's run, so that a stage that would run again can say why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from typing import Any

from rlexp.data.load import load_data
from rlexp.pipelines.planning.planned import PipelinePlan, PlannedStage
from rlexp.spec.errors import UserError
from rlexp.spec.keys import key_values
from rlexp.spec.rows import rows_read
from rlexp.spec.run import RunSpec
from rlexp.tracking.provenance.manifest import input_digests, result_code_digest

FREE = (
    "name",
    "tracking",
    "hardware.name",
    "model.name",
    "model.license",
    "data.name",
    "data.license",
    "data.path",
    "data.heldout_path",
    "eval.name",
    "guards.name",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "scoring.workers",
    "scoring.timeout",
    "scoring.probe",
)
"""Keys, with all below them, that do not change what comes of a run, or whose files have digests.
What the hardware rounds differently does: only its name is among them."""
PACKAGES = (
    "accelerate",
    "datasets",
    "numpy",
    "peft",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "vaderSentiment",
)
"""Packages whose versions can move a number."""

Ingredients = dict[str, Any]


@dataclass(frozen=True)
class StageKey:
    """A stage's key, and what it was made of."""

    key: str
    """32 hexadecimal digits."""
    ingredients: Ingredients
    """By name: keys of the config, `data`, `stage …`, `code`, `package …`."""


def stage_keys(plan: PipelinePlan) -> dict[str, StageKey]:
    """Return the key of each stage of a plan, by its name.

    Raises:
        UserError: rows that cannot be read, with the stages' names.
    """
    keys: dict[str, StageKey] = {}
    digests: dict[str, str] = {}
    problems = []
    for stage in plan.stages:
        try:
            ingredients = _ingredients(stage, keys, digests)
        except UserError as error:
            problems += [p.under(f"stage.{stage.name}.data", "data") for p in error.problems]
            ingredients = {}
        keys[stage.name] = StageKey(_digest(ingredients), ingredients)
    if problems:
        raise UserError(problems)
    return keys


def pipeline_key(plan: PipelinePlan, keys: Mapping[str, StageKey]) -> str:
    """Return the digest of a pipeline's name and its stages' keys."""
    return _digest({"name": plan.name, **{name: key.key for name, key in keys.items()}})


def differing_ingredients(before: Ingredients, after: Ingredients) -> dict[str, tuple[Any, Any]]:
    """Return what is other in the ingredients, by name: what was, and what is; None for neither."""
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _ingredients(
    stage: PlannedStage, keys: Mapping[str, StageKey], digests: dict[str, str]
) -> Ingredients:
    parents = {
        f"stage {key}": [keys[name].key for name in names] for key, names in stage.parents.items()
    }
    if stage.choice:
        return {"metric": stage.choice.metric, "mode": stage.choice.mode, **parents}
    assert stage.config is not None and stage.spec is not None
    files = input_digests(stage.spec, skipped=stage.parents)
    hardware = stage.spec.hardware
    config = {
        key: value
        for key, value in key_values(stage.config)
        if key not in files
        and not any(key == free or key.startswith(f"{free}.") for free in (*FREE, *stage.parents))
    }
    if hardware.threads is None:  # the cores are shared among the processes
        config["hardware.threads"] = max(1, (os.cpu_count() or 1) // hardware.processes)
    ingredients = {**config, **{f"digest of {key}": value for key, value in files.items()}}
    if not any(key.startswith("data.") for key in stage.parents):
        ingredients["data"] = _data_digest(stage.spec, digests)
    return {**ingredients, **parents, **_code()}


def _data_digest(spec: RunSpec, digests: dict[str, str]) -> str:
    source = json.dumps(spec.data.model_dump(mode="json"), sort_keys=True)
    if source not in digests:
        digests[source] = load_data(spec.data, rows_read(spec.algo, spec.data)).digest
    return digests[source]


@cache
def _code() -> Ingredients:
    versions: Ingredients = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[f"package {name}"] = metadata.version(name)
    return {"code": result_code_digest(), **versions}


def _digest(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:32]
