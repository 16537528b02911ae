"""What differs between configs, key by key, spelled as the command line spells it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
    """Return the keys that differ: those of all configs first, each part in the configs' own order.

    A choice of a group (`algo=dpo`) stands for the class behind it, and the name that is made of
    the choices is left out. Of a config that is not `whole` only a part is known; then nothing
    else is compared.
    """
    flat = [dict(leaves(config)) for config in configs]
    keys = dict.fromkeys(key for config in flat for key in config)
    for config, is_whole in zip(flat, whole, strict=True):
        keys = keys if is_whole else [key for key in keys if key in config]
    differing = {}
    for key in keys:
        values = [config.get(key, ABSENT) for config in flat]
        if any(_differ(values[0], value) for value in values[1:]):
            differing[key] = [None if value is ABSENT else spelled(value) for value in values]
    shown = (key for key in differing if not _is_implied(key, differing))
    rows = [ConfigDifference(key, differing[key]) for key in shown]
    return sorted(rows, key=lambda row: not row.whole)


def leaves(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key that has a value of its own, by its path; `algo.name` goes by `algo`.

    >>> dict(leaves({"seed": 0, "algo": {"name": "dpo", "trl": {}, "loss_type": ["sft"]}}))
    {'seed': 0, 'algo': 'dpo', 'algo.trl': {}, 'algo.loss_type': ['sft']}
    """
    for path, value in key_values(config):
        yield path.removesuffix(".name") if path.count(".") == 1 else path, value


def spelled(value: Any) -> str:
    """Return a value as one types it.

    >>> [spelled(value) for value in (None, True, 1e-05, ["sigmoid", "sft"], "a b")]
    ['null', 'true', '1e-05', '[sigmoid,sft]', 'a b']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(spelled(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{spelled(item)}' for key, item in value.items())}}}"
    return str(value)


def _differ(one: Any, other: Any) -> bool:
    """1 and 1.0 are the same, 1 and true are not."""
    return one != other or isinstance(one, bool) != isinstance(other, bool)


def _is_implied(key: str, differing: Collection[str]) -> bool:
    if key == "name":
        return True
    part, _, last = key.rpartition(".")
    return last == "_target_" and (part in differing or f"{part}.name" in differing)
