"""`data=reasoning_gym`: its rows by seed, its sides apart, and what it says of wrong names."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from data_specs import data_spec, problems_of

from rlexp.data.parsing.values import Row
from rlexp.data.reasoning_gym import option_names, task_files

pytestmark = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="extra reasoning")


def rows(**changes: object) -> tuple[list[Row], list[Row]]:
    read = data_spec("reasoning_gym", **{"size": 40, **changes}).read()
    return read.train, read.heldout or []


def test_rows_are_the_seeds() -> None:
    """Rows of the clock; or of the package's seeds, where 1 and 2 share all items but one."""
    (train, heldout), again, other = rows(seed=1), rows(seed=1), rows(seed=2)
    assert (train, heldout) == again
    assert (len(train), len(heldout)) == (36, 4)
    shared = {row["prompt"] for row in train + heldout} & {row["prompt"] for row in other[0]}
    assert shared == set()


def test_draws_of_pythons_own_generator_are_the_seeds_too() -> None:
    """list_functions, which ignores its seed, and would make another digest in every run."""
    assert rows(task="list_functions") == rows(task="list_functions")


def test_no_question_is_on_both_sides() -> None:
    """A task with few questions, of which the held-out ones are trained on."""

    options = {"task": "gcd", "size": 300, "options": {"min_value": 1, "max_value": 30}}
    train, heldout = rows(**options)
    asked = [row["prompt"] for row in train + heldout]
    assert len(set(asked)) == len(asked) < 300
    assert heldout


def test_a_task_without_a_new_question_is_refused() -> None:
    options = {"min_value": 1, "max_value": 2, "min_numbers": 2, "max_numbers": 2}
    (problem,) = problems_of(data_spec("reasoning_gym", task="gcd", size=300, options=options))
    assert problem.key == "data.task" and "hold out" in problem.got


def test_the_entry_keeps_what_json_has_not() -> None:
    """Tuples that have become lists, for which a scorer looks in vain."""
    (row, *_), _ = rows(task="rotate_matrix")
    assert row["answer"] == row["completion"]
    assert "tuple" in json.loads(row["entry"])["entry"]["dict"][2][1]["dict"][-1][1]["dict"][0][1]


def test_options_reach_the_task() -> None:
    train, _ = rows(options={"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    assert all(len(row["prompt"].split(":")[1]) <= len(" 1 + 1 =") for row in train)


@pytest.mark.parametrize(
    ("changes", "key", "remedy"),
    [
        ({"task": "chainsum"}, "data.task", "Did you mean chain_sum?"),
        ({"options": {"min_term": 2}}, "data.options.min_term", "data.options.min_terms?"),
        ({"options": {"seed": 2}}, "data.options.seed", ""),
        ({"options": {"min_terms": 9, "max_terms": 2}}, "data.options", ""),
    ],
)
def test_mistakes_name_key_and_remedy(changes: dict[str, object], key: str, remedy: str) -> None:
    (problem,) = problems_of(data_spec("reasoning_gym", **changes))
    assert problem.key == key and remedy in problem.remedy


def test_each_task_tells_its_options() -> None:
    """A release of the package that registers its tasks in another way."""
    files = task_files()
    assert len(files) > 100
    assert all({"size", "seed"} <= option_names(file) for file in files.values())


def test_mistakes_are_found_without_the_package() -> None:
    """Seconds of imports (matplotlib, sympy) before a typing error is told."""
    code = """
import sys
from data_specs import data_spec
assert data_spec("reasoning_gym", task="chainsum").problems()
print(sorted({"torch", "sympy", "reasoning_gym", "matplotlib"} & set(sys.modules)))
"""
    folder = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
