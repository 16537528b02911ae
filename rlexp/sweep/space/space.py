"""Search space of a sweep: its parameters, and which of them a trial has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rlexp.spec.keys import key_paths

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = None | bool | int | float | str


@dataclass(frozen=True)
class Choice:
    """Domain of some values. Texts are as Hydra's grammar wants them, quoted where need be."""

    values: tuple[Value, ...]

    @property
    def to_check(self) -> tuple[Value, ...]:
        """The values that the spec has to accept: all."""
        return self.values

    def distribution(self) -> BaseDistribution:
        """Return the domain as Optuna's."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def grid(self) -> tuple[Value, ...]:
        """Return all of them."""
        return self.values


@dataclass(frozen=True)
class NumberRange:
    """Domain of the numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = None
    """Between neighbours; None for all numbers between the ends."""
    log: bool = False
    """Whether equal ratios, rather than equal differences, are equally likely."""

    @property
    def is_integer(self) -> bool:
        """Whether they are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def to_check(self) -> tuple[Value, ...]:
        """The values that the spec has to accept: the ends."""
        return tuple(dict.fromkeys((self.low, self.high)))

    def distribution(self) -> BaseDistribution:
        """Return the domain as Optuna's."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_integer:
            step = int(self.step or 1)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def grid(self) -> tuple[Value, ...] | None:
        """Return all of them; None where they cannot be counted."""
        if self.log or (self.step is None and not self.is_integer):
            return None
        step = Decimal(str(self.step or 1))
        count = int((Decimal(str(self.high)) - Decimal(str(self.low))) / step) + 1
        kind = int if self.is_integer else float
        return tuple(kind(Decimal(str(self.low)) + index * step) for index in range(count))


@dataclass(frozen=True)
class Condition:
    """`key=value` or `key=value,value`, which must hold for a parameter to be searched."""

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"


@dataclass(frozen=True)
class Parameter:
    """One dimension of the space."""

    override: str
    """The key as it is overridden, with its `+` where it has one."""
    domain: Choice | NumberRange
    text: str
    """As it was written."""
    conditions: tuple[Condition, ...] = ()
    name: str = ""
    """In the study: the key, with the conditions where the key is searched in several ways."""

    @property
    def key(self) -> str:
        """Of the config: a group or a full path."""
        return self.override.lstrip("+")

    @cached_property
    def distribution(self) -> BaseDistribution:
        """Its domain as Optuna's."""
        return self.domain.distribution()


@dataclass(frozen=True)
class SearchSpace:
    """Parameters, groups first, and overrides of the command line that are none, by key."""

    parameters: tuple[Parameter, ...]
    fixed: dict[str, str] = field(default_factory=dict)

    def assign(
        self,
        suggest: Callable[[Parameter], Value],
        config: Callable[[Mapping[str, Value]], Mapping[str, Any]],
    ) -> dict[Parameter, Value]:
        """Return a value for each parameter that there is, as `suggest` has it.

        `config` gives the values of all keys and groups from the values chosen so far, by key.
        """
        chosen: dict[Parameter, Value] = {}
        for parameter in self.parameters:
            known = config({earlier.key: value for earlier, value in chosen.items()})
            exists = parameter.key in known or parameter.override.startswith("+")
            conditions = parameter.conditions
            if exists and all(str(known.get(on.key)) in on.values for on in conditions):
                chosen[parameter] = suggest(parameter)
        return chosen

    @staticmethod
    def overrides(chosen: Mapping[Parameter, Value]) -> list[str]:
        """Return what a trial's command line has beside what is fixed."""
        return [
            f"{parameter.override}={override_value(value)}" for parameter, value in chosen.items()
        ]

    def descriptions(self) -> dict[str, str]:
        """Return each parameter as it was written; two spaces are the same when this is."""
        return {parameter.name: parameter.text for parameter in self.parameters}


def override_value(value: Value) -> str:
    """Return a value as it stands in an override."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class ComposedKeys(Mapping[str, Any]):
    """Values by key of a composed config and its groups; what was chosen goes before them."""

    def __init__(self, config: DictConfig, choices: Mapping[str, Any]) -> None:
        self.config = config
        self.config_keys = frozenset(key_paths(OmegaConf.to_container(config)))
        self._decided: Mapping[str, Any] = choices

    def with_chosen(self, chosen: Mapping[str, Value]) -> ComposedKeys:
        """Return the same config, in which these values have been chosen."""
        other = copy(self)
        other._decided = {**self._decided, **chosen}
        return other

    def __contains__(self, key: object) -> bool:
        return key in self._decided or key in self.config_keys

    def __getitem__(self, key: str) -> Any:
        if key in self._decided:
            return self._decided[key]
        if key in self.config_keys:
            return OmegaConf.select(self.config, key)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.config_keys)

    def __len__(self) -> int:
        return len(self.config_keys)


class CompositionCache:
    """Composes configs from the values chosen so far, each config once.

    `compose` gives the config and its groups' choices from overrides of groups.
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
