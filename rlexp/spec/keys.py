"""Keys of a config by their full path (`algo.beta`): all of them, their values, their old names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

RENAMED = {"guards.together": "guards.threshold"}
"""Keys that configs of earlier runs have under another name: the old one, and today's."""
LATER_KEYS: dict[str, Any] = {
    "scoring.probe": "off",
    "scoring.timeout": None,
    "peft.start": "new",
    "eval.budget": None,
    "eval.benchmarks": {
        "tasks": [],
        "limit": None,
        "num_fewshot": None,
        "batch_size": 8,
        "apply_chat_template": False,
    },
    "guards.truncation": "off",
    "guards.cut_share": 0.2,
}
"""Keys that configs of earlier runs lack, with what was the case then. They may not decide a run's
numbers: a sweep of before goes on with them."""
LATER_IN_PARTS: dict[str, dict[str, Any]] = {
    "model": {
        "chat_template_kwargs": {},
        "thinking": {"start": "<think>", "end": "</think>", "in_rewards": True},
    }
}
"""Keys of parts that configs of earlier runs lack and that may decide a run's numbers, with what
was the case then."""
LATER_PARTS = {"curriculum": {"_target_": "rlexp.curriculum.none.NoCurriculum", "name": "none"}}
"""Parts that configs of earlier runs lack, with what was the case then."""

_TABLE = {
    "roles": {},
    "ignored_keys": [],
    "columns": dict.fromkeys(("messages", "completions", "system", "history", "input")),
}
_KEEPING_ALL = {"dynamic_sampling": 0, "mask_truncated_completions": False}
_SYNC = {"sync_reference": None, "sync_reference_mix": 1.0}
ADDED: dict[str, dict[str, Any]] = {
    "rlexp.data.file.File": {"encoding": None, **_TABLE},
    "rlexp.data.hub.Hub": _TABLE,
    "rlexp.algos.grpo.Grpo": {
        "dynamic_sampling": 0,
        "kl_estimator": "k3",
        "kl_in": "loss",
        "kl_importance_weights": True,
        **_SYNC,
        "importance_sampling_level": None,
        "delta": None,
        "trust_region": "ratio",
        "trust_region_size": 0.15,
        "off_policy_mask_threshold": None,
        "entropy_coefficient": 0.0,
        "entropy_target": None,
        "top_entropy_quantile": 1.0,
        "entropy_control": "none",
        "cov_share": None,
        "clip_cov_low": 1.0,
        "clip_cov_high": 5.0,
        "kl_cov_coefficient": 1.0,
    },
    "rlexp.algos.rloo.Rloo": {
        "dynamic_sampling": 0,
        "kl_estimator": "k1",
        "kl_in": "reward",
        "kl_importance_weights": True,
        **_SYNC,
    },
    "rlexp.algos.ppo.Ppo": {"num_generations": 1, **_KEEPING_ALL, **_SYNC},
    "rlexp.algos.reinforce.Reinforce": {**_KEEPING_ALL, **_SYNC},
    "rlexp.algos.dpo.Dpo": _SYNC,
    "rlexp.algos.kto.Kto": _SYNC,
    "rlexp.algos.distill.Distill": {
        "teachers": {},
        "teacher_column": None,
        "teacher_prompt": None,
        "ema_decay": 0.99,
        "across_tokenizers": False,
    },
}
"""Keys that configs of earlier runs do not have, by `_target_`: the value that does what they did.
"""
LIFTED = {
    "rlexp.algos.grpo.Grpo": {
        "use_bias_correction_kl": "kl_importance_weights",
        "entropy_coef": "entropy_coefficient",
        **{
            name: name
            for name in (
                *("delta", "importance_sampling_level"),
                *("off_policy_mask_threshold", "top_entropy_quantile"),
            )
        },
    }
}
"""Fields of TRL's that configs of earlier runs have under `trl`, by `_target_`, and today's knobs.
"""


def key_paths(config: object, prefix: str = "") -> Iterator[str]:
    """Yield the full path of every key in nested dictionaries, parents included."""
    if isinstance(config, dict):
        for name, value in config.items():
            path = f"{prefix}.{name}" if prefix else str(name)
            yield path
            yield from key_paths(value, path)


def key_values(config: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each full path that has a value of its own, with the value; an empty mapping is one.

    >>> dict(key_values({"seed": 0, "algo": {"trl": {}, "loss_type": ["sft"]}}))
    {'seed': 0, 'algo.trl': {}, 'algo.loss_type': ['sft']}
    """
    if isinstance(config, dict) and (config or not prefix):
        for name, value in config.items():
            yield from key_values(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, config


def value_at(config: Any, key: str) -> Any:
    """Return the value of a key's full path; None where there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def without_missing(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config without the keys whose value is `???`: they are reported as missing."""
    return {
        key: without_missing(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if value != "???"
    }


def with_current_names(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a stored config, nested or flat, with today's names of its keys, in their old places.

    A key that stands under both names keeps them: the old one is then a mistake that was typed.
    Keys that came later are there, with the value that does what was done before.

    >>> with_current_names({"guards": {"name": "stop", "together": 2.0}, "seed": 0})
    {'guards': {'name': 'stop', 'threshold': 2.0}, 'seed': 0}
    >>> with_current_names({"guards.together": "2.0"})
    {'guards.threshold': '2.0'}
    """
    renamed: dict[str, Any] = {}
    target = str(config.get("_target_"))
    config = _with_added(_with_lifted(config, LIFTED.get(target, {})), ADDED.get(target, {}))
    for name, value in config.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        current = RENAMED.get(path, path).removeprefix(f"{prefix}.")
        if current in config:
            current = name
        renamed[current] = with_current_names(value, path) if isinstance(value, dict) else value
    return renamed


def with_later_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with the parts that it lacks, and the keys where it has their part.

    >>> with_later_keys({"scoring": {"workers": 0}, "seed": 0, "curriculum": {}})
    {'curriculum': {}, 'scoring': {'timeout': None, 'probe': 'off', 'workers': 0}, 'seed': 0}
    """
    config = LATER_PARTS | config
    for part, added in LATER_IN_PARTS.items():
        if isinstance(config.get(part), dict):
            config = {**config, part: _with_added(config[part], added)}
    for key, value in LATER_KEYS.items():
        part, _, name = key.partition(".")
        values = config.get(part)
        if isinstance(values, dict) and values.get("kind") != "none":  # which has no other keys
            config = {**config, part: {name: value, **values}}
    return config


def came_later(key: str) -> bool:
    """Return whether a full path is one of `LATER_KEYS`, or stands below one.

    >>> came_later("eval.benchmarks.tasks"), came_later("eval.prompts")
    (True, False)
    """
    return any(key == later or key.startswith(f"{later}.") for later in LATER_KEYS)


def later_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the full paths that a flat config of an earlier run lacks, with the values of then.

    >>> later_values({"algo._target_": "rlexp.algos.rloo.Rloo", "curriculum.name": "none"})
    {'algo.dynamic_sampling': 0}
    """
    parts = {name.partition(".")[0] for name in config}
    later: dict[str, Any] = {n: part for n, part in LATER_PARTS.items() if n not in parts}
    later |= {name: added for name, added in LATER_IN_PARTS.items() if name in parts}
    for name, target in config.items():
        group, _, last = name.rpartition(".")
        if last == "_target_" and target in ADDED:
            later[group] = ADDED[target]
    return {name: value for name, value in key_values(later) if name not in config}


def _with_lifted(config: dict[str, Any], knobs: dict[str, str]) -> dict[str, Any]:
    """Return a config with fields of `trl` as the knobs that they have become."""
    trl = config.get("trl")
    if not isinstance(trl, dict):
        return config
    lifted = {knobs[name]: trl[name] for name in trl if knobs.get(name, "trl") not in config}
    return {**config, "trl": {n: v for n, v in trl.items() if knobs.get(n) not in lifted}, **lifted}


def _with_added(config: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    missing = {name: value for name, value in added.items() if name not in config}
    return {
        name: _with_added(value, added[name])
        if isinstance(value, dict) and isinstance(added.get(name), dict)
        else value
        for name, value in {**config, **missing}.items()
    }
