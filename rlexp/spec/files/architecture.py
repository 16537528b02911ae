"""Whether a config is that of a model which can be trained as what a run makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from rlexp.spec.errors import Problem
from rlexp.spec.files.transformers_names import (
    CAUSAL,
    CONFIGS,
    MASKED,
    SCORING,
    architecture_source,
    classes_by_type,
    transformers_version,
)
from rlexp.spec.model_kind import Head

WRITES = "a causal language model, which reads from left to right"
CAUSAL_TASKS = ("CausalLM", "ConditionalGeneration")
"""What stands behind `For` in the class of a model that writes."""


def architecture_problems(
    config: Mapping[str, Any], where: str, key: str, heads: Iterable[Head], own_code: bool
) -> list[Problem]:
    """Return what keeps a model from being what a run needs, by its config alone.

    Args:
        config: of `config.json`.
        where: what people know the model as, such as its folder.
        key: that names the model.
        heads: what is made of it: a language model, a reward model, or first one and then the
            other.
        own_code: whether code that comes with the weights may be run; then nothing is known here.
    """
    family = config.get("model_type")
    if own_code and "auto_map" in config:
        return []
    if not isinstance(family, str):
        remedy = "Save the model by save_pretrained, which writes it."
        return [Problem(key, f"{where}/config.json, without a model_type", "one", remedy)]
    if family not in classes_by_type(CONFIGS):
        return [_unknown(family, where, key, "auto_map" in config)]
    reads_twice = bool(config.get("is_encoder_decoder"))
    problems: list[Problem] = []
    if "language" in heads and (reads_twice or not _is_causal(family, config)):
        problems.append(_not_causal(family, config, where, key))
    if "reward" in heads and (reads_twice or family not in classes_by_type(SCORING)):
        want = "a decoder that transformers can score texts with (…ForSequenceClassification)"
        problems.append(Problem(key, f"{where}, {_described(family, config)}", want))
    return problems


def has_no_sdpa(model_type: str) -> bool:
    """Whether transformers computes a model type's attention without fused kernels only."""
    source = architecture_source(model_type, "modeling")
    return "PreTrainedModel(PreTrainedModel)" in source and "_supports_sdpa = True" not in source


def _is_causal(family: str, config: Mapping[str, Any]) -> bool:
    if family not in classes_by_type(CAUSAL):
        return False
    if family in classes_by_type(MASKED) and not config.get("is_decoder"):
        return False  # an encoder, unless it says otherwise
    tasks = [name.partition("For")[2] for name in config.get("architectures") or []]
    return all(not task or task in CAUSAL_TASKS for task in tasks)


def _not_causal(family: str, config: Mapping[str, Any], where: str, key: str) -> Problem:
    remedy = "Give a model of a class …ForCausalLM, such as model.path=builtin:tiny."
    if any(
        name.endswith("ForSequenceClassification") for name in config.get("architectures") or []
    ):
        remedy = (
            "Give the language model that it was made from, or another: model.path=builtin:tiny, "
            f"beside which this one can be the reward: reward=model reward.path={where}"
        )
    return Problem(key, f"{where}, {_described(family, config)}", WRITES, remedy)


def _described(family: str, config: Mapping[str, Any]) -> str:
    name = ", ".join(config.get("architectures") or []) or f"model of type {family}"
    article = "an" if name[0] in "AEIOU" else "a"
    if config.get("is_encoder_decoder"):
        return f"{article} {name}: an encoder with a decoder"
    if family in classes_by_type(MASKED) and not config.get("is_decoder"):
        return f"{article} {name}: an encoder, which reads both ways (is_decoder is not set)"
    return f"{article} {name}"


def _unknown(family: str, where: str, key: str, brings_code: bool) -> Problem:
    got = f"{where}, of type {family}, which transformers {transformers_version()} does not know"
    if brings_code:
        remedy = "It brings code of its own: model.trust_remote_code=true runs that."
    else:
        near = get_close_matches(family, classes_by_type(CONFIGS), n=1)
        meant = f"Is {near[0]} meant, in its config.json? " if near else ""
        remedy = f"{meant}A newer one may know it: pip install --upgrade transformers"
    return Problem(key, got, "an architecture of transformers", remedy)
