"""What a sweep searches, read from Hydra's sweep syntax.

    algo=choice(dpo,kto,sft)
    algo.learning_rate=tag(log,interval(1e-4,1e-2))
    train.batch_size=range(16,65,16)

An interval's ends both belong to it; a range has Hydra's values exactly, which its stop is none of.
An interval between two whole numbers is one of whole numbers, and so is `int(interval(…))`.

In yaml the same stands by key under `sweep.params`, where a list is a choice too (with null, for
which Hydra's grammar has no place), and where a parameter may depend on what was chosen:

    algo: choice(dpo,kto,sft)
    algo.beta: interval(0.1,1)      # left out for sft, which has no such key
    algo=dpo:
      algo.label_smoothing: interval(0,0.3)

What the command line says of a key goes before what the yaml says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = None | bool | int | float | str

WANTED = "choice(…), range(…) or interval(…)"


@dataclass(frozen=True)
class Choice:
    """One of some values. Texts are as Hydra's grammar wants them, quoted where need be."""

    values: tuple[Value, ...]

    @property
    def to_check(self) -> tuple[Value, ...]:
        """The values by which the whole is judged: all."""
        return self.values

    def distribution(self) -> BaseDistribution:
        """Optuna's."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Numbers:
    """The numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = None
    """Between neighbours; None for all numbers between the ends."""
    log: bool = False
    """Whether equal ratios, rather than equal differences, are equally likely."""

    @property
    def whole(self) -> bool:
        """Whether they are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def to_check(self) -> tuple[Value, ...]:
        """The values by which the whole is judged: its ends."""
        return tuple(dict.fromkeys((self.low, self.high)))

    def distribution(self) -> BaseDistribution:
        """Optuna's."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(
                int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def grid(self) -> tuple[Value, ...] | None:
        """All of them, where they can be counted."""
        if self.log or (self.step is None and not self.whole):
            return None
        step = Decimal(str(self.step or 1))
        count = int((Decimal(str(self.high)) - Decimal(str(self.low))) / step) + 1
        kind = int if self.whole else float
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
    domain: Choice | Numbers
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
        """Optuna's."""
        return self.domain.distribution()


@dataclass(frozen=True)
class Space:
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
        """A value for each parameter that there is.

        Args:
            suggest: the value of one.
            config: from the values so far, by key, to those of all keys and groups of the config.
        """
        chosen: dict[Parameter, Value] = {}
        for parameter in self.parameters:
            known = config({each.key: value for each, value in chosen.items()})
            exists = parameter.key in known or parameter.override.startswith("+")
            if exists and all(_holds(each, known) for each in parameter.conditions):
                chosen[parameter] = suggest(parameter)
        return chosen

    def overrides(self, chosen: Mapping[Parameter, Value]) -> list[str]:
        """What a trial's command line would be."""
        of_trial = [f"{each.override}={encoded(value)}" for each, value in chosen.items()]
        return [*self.fixed.values(), *of_trial]

    def described(self) -> dict[str, str]:
        """Each parameter as it was written; two spaces are the same when this is."""
        return {each.name: each.text for each in self.parameters}


def read_space(
    params: Mapping[str, Any], arguments: Sequence[str], is_group: Callable[[str], bool]
) -> Space:
    """The space of `sweep.params` and of the command line's overrides.

    Raises:
        UserError: with everything that cannot be searched.
    """
    problems: list[Problem] = []
    typed, fixed = _typed(arguments, problems)
    taken = {*fixed, *(parameter.key for parameter in typed)}
    found = [each for each in _of_yaml(params, (), problems) if each.key not in taken] + typed
    if problems:
        raise UserError(problems)
    # What others depend on is decided first.
    found.sort(key=lambda each: (not is_group(each.key), bool(each.conditions)))
    keys = [each.key for each in found]
    named = tuple(
        Parameter(each.override, each.domain, each.text, each.conditions, _name(each, keys))
        for each in found
    )
    return Space(named, fixed)


def _name(parameter: Parameter, keys: Sequence[str]) -> str:
    if keys.count(parameter.key) == 1:
        return parameter.key
    return " ".join([parameter.key, *(f"({each})" for each in parameter.conditions)])


def _typed(
    arguments: Sequence[str], problems: list[Problem]
) -> tuple[list[Parameter], dict[str, str]]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found: dict[str, Parameter] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key = override.get_key_element()
        bare = key.lstrip("+")
        found.pop(bare, None)
        fixed.pop(bare, None)
        if override.is_sweep_override():
            if (domain := _domain(override, bare, problems)) is not None:
                text = str(override.input_line).partition("=")[2]
                found[bare] = Parameter(key, domain, text)
        else:
            fixed[bare] = str(override.input_line)
    return list(found.values()), fixed


def _of_yaml(
    params: Mapping[str, Any], conditions: tuple[Condition, ...], problems: list[Problem]
) -> Iterable[Parameter]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for key, value in params.items():
        place = f"sweep.params.{key}"
        if isinstance(value, Mapping):
            left, equals, right = key.partition("=")
            if not equals:
                want = "a condition, such as algo=dpo, above further parameters"
                problems.append(Problem(place, "a mapping", want))
                continue
            condition = Condition(left.strip(), tuple(each.strip() for each in right.split(",")))
            yield from _of_yaml(value, (*conditions, condition), problems)
        elif isinstance(value, (list, tuple)):
            choice = Choice(tuple(_quoted(each) for each in value))
            yield Parameter(key, choice, str(list(value)), conditions)
        else:
            try:
                override = OverridesParser.create().parse_override(f"{key}={value}")
            except HydraException as error:
                remedy = str(error).splitlines()[0]
                problems.append(Problem(place, str(value), WANTED, remedy))
                continue
            if not override.is_sweep_override():
                remedy = f"One value for all trials goes on the command line: {key}={value}"
                problems.append(Problem(place, str(value), WANTED, remedy))
            elif (domain := _domain(override, place, problems)) is not None:
                yield Parameter(override.get_key_element(), domain, str(value), conditions)


def _domain(override: Any, place: str, problems: list[Problem]) -> Choice | Numbers | None:
    """What an override of Hydra's sweep syntax says; None after telling why it says nothing."""
    from hydra.core.override_parser.types import Transformer

    value, text = override.value(), str(override.input_line).partition("=")[2]
    try:
        if override.is_choice_sweep():
            values = tuple(override.sweep_iterator(transformer=Transformer.encode))
            return Choice(tuple(dict.fromkeys(values)))
        if override.is_range_sweep():
            return _range(list(value.range()), value.step)
        if override.is_interval_sweep():
            return _interval(value)
        problems.append(Problem(place, text, WANTED, "Name the choices: choice(a,b)."))
    except ValueError as error:
        problems.append(Problem(place, text, WANTED, f"{error}."))
    return None


def _range(values: list[Any], step: float) -> Numbers:
    if not values:
        raise ValueError("There is no number in it")
    whole = all(isinstance(each, int) or float(each).is_integer() for each in (*values, step))
    kind = int if whole else float
    return Numbers(kind(min(values)), kind(max(values)), kind(abs(step)))


def _interval(value: Any) -> Numbers:
    low, high, log = value.start, value.end, "log" in value.tags
    if unknown := set(value.tags) - {"log", "int"}:
        raise ValueError(f"tag() knows log and int, not {', '.join(sorted(unknown))}")
    if "int" in value.tags:
        low, high = int(low), int(high)
    if not (isinstance(low, int) and isinstance(high, int)):
        low, high = float(low), float(high)
    if low > high:
        raise ValueError("It ends before it begins")
    if log and low <= 0:
        raise ValueError("A logarithm begins above 0")
    return Numbers(low, high, log=log)


def encoded(value: Value) -> str:
    """A value as it stands in an override."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(value: Any) -> Value:
    """A value of a yaml list as a choice: texts and lists as Hydra's grammar wants them."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return f"[{','.join(encoded(_quoted(each)) for each in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return str(value) if str(value).isidentifier() else f"'{escaped}'"


def _holds(condition: Condition, known: Mapping[str, Any]) -> bool:
    return str(known.get(condition.key)) in condition.values
