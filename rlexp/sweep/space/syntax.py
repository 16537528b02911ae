"""Syntax of a search space: Hydra's sweep overrides, and `sweep.params` in yaml.

    algo=choice(dpo,kto,sft)
    algo.learning_rate=tag(log,interval(1e-4,1e-2))
    train.batch_size=range(16,65,16)

An interval's ends both belong to it; a range has Hydra's values exactly, which its stop is none of.
Of whole numbers an interval is written `int(interval(1,8))` or `tag(int,interval(1,8))`.

In yaml the same stands by key under `sweep.params`, where a list is a choice too (with null, for
which Hydra's grammar has no place), and where a parameter may depend on what was chosen:

    algo: choice(dpo,kto,sft)
    algo.beta: interval(0.1,1)      # left out for sft, which has no such key
    algo=dpo:
      algo.label_smoothing: interval(0,0.3)

What the command line says of a key goes before what the yaml says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlexp.spec.errors import Problem, UserError
from rlexp.sweep.space.space import (
    Choice,
    Condition,
    NumberRange,
    Parameter,
    SearchSpace,
    Value,
    override_value,
)

if TYPE_CHECKING:
    from hydra.core.override_parser.types import IntervalSweep, Override

_PLAIN = re.compile(r"[A-Za-z_][\w.\-/:@]*")
"""Texts that Hydra's grammar takes without quotes."""
_NO_TEXTS = ("null", "true", "false", "nan", "inf")

WANTED = "choice(…), range(…) or interval(…)"


def read_space(
    params: Mapping[str, Any], arguments: Sequence[str], is_group: Callable[[str], bool]
) -> SearchSpace:
    """Return the space of `sweep.params` and of the command line's overrides.

    Raises `UserError` with everything that cannot be searched.
    """
    problems: list[Problem] = []
    typed, fixed = _typed_parameters(arguments, problems)
    overridden = {*fixed, *(parameter.key for parameter in typed)}
    in_yaml = _yaml_parameters(params, (), problems)
    parameters = [parameter for parameter in in_yaml if parameter.key not in overridden] + typed
    if problems:
        raise UserError(problems)
    # What others depend on is decided first.
    parameters.sort(key=lambda parameter: (not is_group(parameter.key), bool(parameter.conditions)))
    keys = [parameter.key for parameter in parameters]

    def name_of(parameter: Parameter) -> str:
        conditions = parameter.conditions if keys.count(parameter.key) > 1 else ()
        return " ".join([parameter.key, *(f"({condition})" for condition in conditions)])

    named = (replace(parameter, name=name_of(parameter)) for parameter in parameters)
    return SearchSpace(tuple(named), fixed)


def _typed_parameters(
    arguments: Sequence[str], problems: list[Problem]
) -> tuple[list[Parameter], dict[str, str]]:
    """Return the command line's parameters, and its overrides that are none by key."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parameters: dict[str, Parameter] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key = override.get_key_element()
        bare = key.lstrip("+")
        parameters.pop(bare, None)  # the last one of a key counts
        fixed.pop(bare, None)
        if override.is_sweep_override():
            text = str(override.input_line).partition("=")[2]
            if re.match(r"sweep\b", bare):
                searched = bare.partition("sweep.params.")[2]
                meant = f"'{searched}={text}' in its place" if searched else f"{bare}=VALUE"
                remedy = f"Type {meant}; what is searched is typed by its own key."
                problems.append(Problem(bare, text, "one value", remedy))
            elif (domain := _domain(override, bare, problems)) is not None:
                parameters[bare] = Parameter(key, domain, text)
        else:
            fixed[bare] = str(override.input_line)
    return list(parameters.values()), fixed


def _yaml_parameters(
    params: Mapping[str, Any], conditions: tuple[Condition, ...], problems: list[Problem]
) -> Iterable[Parameter]:
    """Return the parameters below `sweep.params`, or below a condition in it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for key, value in params.items():
        path = f"sweep.params.{key}"
        if isinstance(value, Mapping):
            left, equals, right = key.partition("=")
            if not equals:
                want = "a condition, such as algo=dpo, above further parameters"
                problems.append(Problem(path, "a mapping", want))
                continue
            condition = Condition(left.strip(), tuple(value.strip() for value in right.split(",")))
            yield from _yaml_parameters(value, (*conditions, condition), problems)
        elif isinstance(value, (list, tuple)):
            choice = Choice(tuple(_quoted(element) for element in value))
            yield Parameter(key, choice, str(list(value)), conditions)
        else:
            try:
                override = OverridesParser.create().parse_override(f"{key}={value}")
            except HydraException as error:
                remedy = str(error).splitlines()[0]
                problems.append(Problem(path, str(value), WANTED, remedy))
                continue
            if not override.is_sweep_override():
                remedy = f"One value for all trials goes on the command line: {key}={value}"
                problems.append(Problem(path, str(value), WANTED, remedy))
            elif (domain := _domain(override, path, problems)) is not None:
                yield Parameter(override.get_key_element(), domain, str(value), conditions)


def _domain(override: Override, path: str, problems: list[Problem]) -> Choice | NumberRange | None:
    """Return the domain of a sweep override; None where it has none, with the problem added."""
    value: Any = override.value()
    text = str(override.input_line).partition("=")[2]
    try:
        if override.is_choice_sweep():
            # As written: a shuffled choice must be the same one when the study is gone on with.
            return Choice(tuple(dict.fromkeys(map(_quoted, value.list))))
        if override.is_range_sweep():
            return _range(list(value.range()), value.step)
        if override.is_interval_sweep():
            return _interval(value)
        problems.append(Problem(path, text, WANTED, "Name the choices: choice(a,b)."))
    except ValueError as error:
        problems.append(Problem(path, text, WANTED, f"{error}."))
    return None


def _range(values: list[float], step: float) -> NumberRange:
    if not values:
        raise ValueError("There is no number in it")
    kind = int if all(isinstance(number, int) for number in (*values, step)) else float
    return NumberRange(kind(min(values)), kind(max(values)), kind(abs(step)))


def _interval(value: IntervalSweep) -> NumberRange:
    low, high, log = value.start, value.end, "log" in value.tags
    assert low is not None and high is not None
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
    return NumberRange(low, high, log=log)


def _quoted(value: object) -> Value:
    """Return a value as a choice: texts and lists as Hydra's grammar wants them."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return f"[{','.join(override_value(_quoted(element)) for element in value)}]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXTS:
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
