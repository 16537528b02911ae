"""Search space of a sweep: its parameters, and which of them a trial has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

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
            return IntDistribution(
                int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
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
    """Parameters, groups first, and what all trials have in common.

    Attributes:
        fixed: overrides of the command line that are no parameters, by key.
    """

    parameters: tuple[Parameter, ...]
    fixed: dict[str, str] = field(default_factory=dict)

    def assign(
        self,
        suggest: Callable[[Parameter], Value],
        config: Callable[[Mapping[str, Value]], Mapping[str, Any]],
    ) -> dict[Parameter, Value]:
        """Return a value for each parameter that there is.

        Args:
            suggest: the value of one.
            config: from the values so far, by key, to those of all keys and groups of the config.
        """
        chosen: dict[Parameter, Value] = {}
        for parameter in self.parameters:
            known = config({earlier.key: value for earlier, value in chosen.items()})
            exists = parameter.key in known or parameter.override.startswith("+")
            if exists and all(_holds(condition, known) for condition in parameter.conditions):
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


def _holds(condition: Condition, known: Mapping[str, Any]) -> bool:
    return str(known.get(condition.key)) in condition.values
