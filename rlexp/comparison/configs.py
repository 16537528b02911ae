"""What differs between configs, key by key, spelled as the command line spells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlexp.spec.keys import key_values

ABSENT = object()
"""In place of the value of a key that a run's config does not have."""


@dataclass(frozen=True)
class ConfigDifference:
    """A key whose value is not the same in all runs."""

    key: str
    values: list[str | None]
    """One a run; None where it has no such key."""

    @property
    def whole(self) -> bool:
        """Whether every run has the key."""
        return None not in self.values


def config_differences(
    configs: Sequence[Mapping[str, Any]], whole: Sequence[bool]
) -> list[ConfigDifference]:
    """The keys that differ: those of all configs first, each part in the configs' own order.

    A choice of a group (`algo=dpo`) stands for the class behind it, and the name that is made of
    the choices is left out.

    Args:
        configs: composed configs, at least one.
        whole: False for a config of which only a part is known; nothing else is then compared.
    """
    flat = [dict(leaves(config)) for config in configs]
    keys = dict.fromkeys(key for each in flat for key in each)
    for each, is_whole in zip(flat, whole, strict=True):
        keys = keys if is_whole else [key for key in keys if key in each]
    found = {}
    for key in keys:
        values = [each.get(key, ABSENT) for each in flat]
        if any(_differ(values[0], value) for value in values[1:]):
            found[key] = [None if value is ABSENT else spelled(value) for value in values]
    told = {key: values for key, values in found.items() if not _is_implied(key, found)}
    order = sorted(told, key=lambda key: None in told[key])
    return [ConfigDifference(key, told[key]) for key in order]


def leaves(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key that has a value of its own, by its full path; `algo.name` is told as `algo`.

    >>> dict(leaves({"seed": 0, "algo": {"name": "dpo", "trl": {}, "loss_type": ["sft"]}}))
    {'seed': 0, 'algo': 'dpo', 'algo.trl': {}, 'algo.loss_type': ['sft']}
    """
    for path, value in key_values(config):
        yield path.removesuffix(".name") if path.count(".") == 1 else path, value


def spelled(value: Any) -> str:
    """A value as one types it.

    >>> [spelled(value) for value in (None, True, 1e-05, ["sigmoid", "sft"], "a b")]
    ['null', 'true', '1e-05', '[sigmoid,sft]', 'a b']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(spelled(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{spelled(each)}' for key, each in value.items())}}}"
    return str(value)


def _differ(one: Any, other: Any) -> bool:
    """1 and 1.0 are the same, 1 and true are not."""
    return one != other or isinstance(one, bool) != isinstance(other, bool)


def _is_implied(key: str, found: Mapping[str, Any]) -> bool:
    if key == "name":
        return True
    part, _, last = key.rpartition(".")
    return last == "_target_" and (part in found or f"{part}.name" in found)
