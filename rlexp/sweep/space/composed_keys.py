"""Keys of the composed config, depending on the groups that a trial chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlexp.spec.keys import key_paths
from rlexp.sweep.space.space import Value, override_value


class ComposedKeys(Mapping[str, Any]):
    """Values by key of a composed config and its groups; what was chosen goes before them."""

    def __init__(self, config: DictConfig, choices: Mapping[str, Any]) -> None:
        self.config = config
        self._choices = choices
        self.config_keys = frozenset(key_paths(OmegaConf.to_container(config)))
        self._chosen: Mapping[str, Value] = {}

    def with_chosen(self, chosen: Mapping[str, Value]) -> ComposedKeys:
        """Return the same config, in which these values have been chosen."""
        other = object.__new__(ComposedKeys)
        other.__dict__.update(self.__dict__)
        other._chosen = chosen
        return other

    def __contains__(self, key: object) -> bool:
        return any(key in keys for keys in (self._chosen, self._choices, self.config_keys))

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        if key in self._chosen:
            return self._chosen[key]
        if key in self._choices:
            return self._choices[key]
        return OmegaConf.select(self.config, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.config_keys)

    def __len__(self) -> int:
        return len(self.config_keys)


class CompositionCache:
    """Composes configs from the values chosen so far, each config once.

    Args:
        compose: the config and its groups' choices, from overrides of groups.
        is_group: whether a key is one of the config's groups.
    """

    def __init__(
        self,
        compose: Callable[[list[str]], tuple[DictConfig, Mapping[str, Any]]],
        is_group: Callable[[str], bool],
    ) -> None:
        self._compose, self._is_group = compose, is_group
        self._composed: dict[tuple[str, ...], ComposedKeys] = {}

    def __call__(self, chosen: Mapping[str, Value]) -> ComposedKeys:
        groups = tuple(
            f"{key}={override_value(value)}" for key, value in chosen.items() if self._is_group(key)
        )
        if groups not in self._composed:
            self._composed[groups] = ComposedKeys(*self._compose(list(groups)))
        return self._composed[groups].with_chosen(chosen)
