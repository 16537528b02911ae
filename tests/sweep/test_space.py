"""The search space: Hydra's sweep syntax and what Optuna makes of it, ends included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution as Categorical
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from rlexp.spec.errors import UserError
from rlexp.sweep.space.grid import grid_values
from rlexp.sweep.space.space import Parameter, SearchSpace, Value
from rlexp.sweep.space.syntax import read_space


def space_of(*arguments: str, params: Mapping[str, Any] | None = None) -> SearchSpace:
    return read_space(params or {}, arguments, lambda key: key in ("algo", "model"))


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("choice(a,b,c)", Categorical(("a", "b", "c"))),
        ("a,b,c", Categorical(("a", "b", "c"))),
        ("1,2,5", Categorical((1, 2, 5))),
        ("null,5", Categorical((None, 5))),
        ("choice('5',qwen0.5b,'null')", Categorical(("'5'", "qwen0.5b", "'null'"))),
        ("choice([sigmoid],[ipo,sft])", Categorical(("[sigmoid]", "[ipo,sft]"))),
        ("choice('a,b',c)", Categorical(("'a,b'", "c"))),
        ("shuffle(choice(a,b,c,d,e,f))", Categorical(tuple("abcdef"))),
        ("range(1,5)", Int(1, 4)),
        ("range(5)", Int(0, 4)),
        ("range(1,10,3)", Int(1, 7, step=3)),
        ("range(1,11,3)", Int(1, 10, step=3)),
        ("range(10,1,-3)", Int(4, 10, step=3)),
        ("range(0,1,0.1)", Float(0.0, 0.9, step=0.1)),
        ("range(0.0,0.3,0.1)", Float(0.0, 0.2, step=0.1)),
        ("float(range(1,4))", Float(1.0, 3.0, step=1.0)),
        ("interval(0,1)", Float(0.0, 1.0)),
        ("interval(0.0,1)", Float(0.0, 1.0)),
        ("interval(-5.5,5.5)", Float(-5.5, 5.5)),
        ("int(interval(1,8.9))", Int(1, 8)),
        ("tag(log,interval(1e-5,1e-2))", Float(1e-5, 1e-2, log=True)),
        ("tag(log,int(interval(1,1000)))", Int(1, 1000, log=True)),
        ("tag(int,log,interval(1,1000))", Int(1, 1000, log=True)),
    ],
)
def test_what_is_written_is_what_is_searched(written: str, means: Any) -> None:
    """Ends off by one, a step lost, floats made whole, a shuffle that differs at each start."""
    (parameter,) = space_of(f"x={written}").parameters
    assert parameter.distribution == means


def test_the_command_line_goes_before_the_yaml() -> None:
    """A parameter that is searched although it was given a value, or in its old range."""
    params = {"a": "interval(0,1)", "b": "choice(1,2)", "algo=dpo": {"c": "range(3)"}}
    space = space_of("a=0.5", "b=interval(5,9)", "c=1", params=params)
    assert space.descriptions() == {"b": "interval(5,9)"}
    assert space.fixed == {"a": "a=0.5", "c": "c=1"}


def test_a_list_of_the_yaml_is_a_choice_with_null() -> None:
    """Values for which Hydra's grammar has no place, or which it would read as others."""
    (parameter,) = space_of(params={"x": [None, True, 5, "a b", ["u", 1]]}).parameters
    chosen = [space_of(params={}).overrides({parameter: v})[0] for v in parameter.domain.to_check]
    assert chosen == ["x=null", "x=true", "x=5", "x='a b'", "x=[u,1]"]


CONDITIONAL = {
    "algo.beta": "interval(0.1,1.0)",
    "algo=dpo,kto": {"algo.loss": "choice(a,b)"},
    "algo=grpo": {"algo.beta2": "interval(0.0,0.1)"},
    "algo": "choice(dpo,sft,grpo)",
}
KEYS = {
    "dpo": {"algo.beta", "algo.loss"},
    "sft": {"algo.rate"},
    "grpo": {"algo.beta", "algo.beta2"},
}


@pytest.mark.parametrize(
    ("algo", "names"),
    [
        ("dpo", {"algo", "algo.beta", "algo.loss"}),
        ("sft", {"algo"}),
        ("grpo", {"algo", "algo.beta", "algo.beta2"}),
    ],
)
def test_a_parameter_is_left_out_where_its_key_or_its_condition_is_not(
    algo: str, names: set[str]
) -> None:
    """A key of another algorithm in a trial, which the spec would refuse."""

    def config(chosen: Mapping[str, Value]) -> Mapping[str, Any]:
        return {**dict.fromkeys(KEYS[str(chosen.get("algo", "dpo"))] | {"algo"}), **chosen}

    def suggest(parameter: Parameter) -> Value:
        return algo if parameter.key == "algo" else parameter.domain.to_check[0]

    chosen = space_of(params=CONDITIONAL).assign(suggest, config)
    assert {parameter.name for parameter in chosen} == names


def test_a_key_that_is_searched_in_two_ways_has_two_names() -> None:
    """Two ranges under one name, which Optuna's models would mix."""
    params = {"algo=dpo": {"algo.beta": "interval(1,2)"}, "algo=kto": {"algo.beta": "choice(3,4)"}}
    space = space_of("algo=dpo,kto", params=params)
    assert [each.name for each in space.parameters] == [
        "algo",
        "algo.beta (algo=dpo)",
        "algo.beta (algo=kto)",
    ]
    assert {each.override for each in space.parameters[1:]} == {"algo.beta"}


def test_a_grid_has_both_ends() -> None:
    """A grid that misses the last value of a range."""
    space = space_of("a=range(0,0.5,0.1)", "b=int(interval(1,3))", "c=x,y")
    points = grid_values(space)
    assert points["a"] == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4))
    assert points["b"] == (1, 2, 3) and points["c"] == ("x", "y")


def test_all_that_cannot_be_searched_is_told_at_once() -> None:
    """A space whose mistakes come one after the other."""
    params = {
        "a": 5,
        "b": "tag(log,interval(0,1))",
        "c": "interval(2,1)",
        "d": "range(3,1)",
        "e": {"f": "choice(1,2)"},
        "g": "choice(",
        "h": "tag(lin,interval(0,1))",
    }
    with pytest.raises(UserError) as caught:
        space_of(params=params)
    keys = {problem.key.removeprefix("sweep.params.") for problem in caught.value.problems}
    assert keys == set(params)
