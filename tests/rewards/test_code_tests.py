"""Tests of programs in the forms of published data sets: read, made to run, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from reward_specs import reward

from rlexp.rewards.common.code_tests import read_tests
from rlexp.sandbox.choice import strongest
from rlexp.spec.errors import UserError

FENCE = "```"
RIGHT = f"{FENCE}python\ndef f(x):\n    return x * x\n{FENCE}"
METHOD = f"{FENCE}python\nclass Solution:\n    def f(self, x):\n        return x * x\n{FENCE}"
WRONG = f"{FENCE}python\ndef f(x):\n    return 0\n{FENCE}"
TEXT = "I do not know."
CHECK = "def check(candidate):\n    assert candidate(2) == 4\n"
PYTEST = "def test_f():\n    assert f(2) == 4\n"
UNITTEST = "class T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 4)\n"

RUN: list[tuple[Any, Any]] = [
    ("assert f(2) == 4", None),
    ("['assert f(2) == 4', 'assert f(3) == 9']", None),
    ('["assert f(2) == 4"]', None),
    (CHECK + "check(f)", None),
    (CHECK, "f"),
    (CHECK.replace("candidate", "program"), '{"func_name": "f"}'),
    (PYTEST, None),
    ("from solution import f\n\n" + PYTEST, None),
    ("import pytest\n" + PYTEST + "if __name__ == '__main__':\n    pytest.main()", None),
    ("def test_f(candidate):\n    assert candidate(2) == 4", "f"),
    ("class TestF:\n    def test_two(self):\n        assert f(2) == 4", None),
    (UNITTEST, None),
    ("import unittest\n" + UNITTEST + "if __name__ == '__main__':\n    unittest.main()", None),
    ("if __name__ == '__main__':\n    assert f(2) == 4", None),
    ("if f(2) != 4:\n    raise ValueError('no')", None),
    ('{"inputs": [[3]], "outputs": [[9]], "fn_name": "f"}', None),
    ('{"inputs": [[3], [2]], "outputs": [9, 4], "fn_name": "f"}', None),
    ('{"inputs": ["[3]"], "outputs": ["9"], "fn_name": "f"}', None),
    ('[{"input": "3", "output": "9", "testtype": "functional"}]', '{"func_name": "f"}'),
    ([{"input": "3", "output": "9", "testtype": "functional"}], {"func_name": "f"}),
    (
        [{"input": "3", "output": "9", "testtype": "functional", "metadata": {"func_name": "f"}}],
        None,
    ),
    ({"test_cases": [{"type": "function_call", "fn_name": "f", "input": [3], "output": 9}]}, None),
    ({"test_list": ["assert f(2) == 4"]}, None),
    ("import solution as s\n\ndef test_f():\n    assert s.f(2) == 4", None),
    ("from solution import f as square\nassert square(2) == 4", None),
    ('{"inputs": [{"x": 2}], "outputs": [4], "fn_name": "Solution.f"}', None),
    ("def check(f):\n    assert f(2) == 4", "f"),
    ("try:\n    f('a')\n    assert False\nexcept TypeError:\n    assert f(2) == 4", None),
]

REFUSED: list[tuple[Any, str]] = [
    ("print('checked')", "asserts nothing"),
    ("f(2) == 4", r"comparison \(line 1\).*assert f\(2\) == 4"),
    ("x = f(2)\nx == 4", r"comparison \(line 2\)"),
    (CHECK, r"check \(line 1\) is never called.*reward\.entry_point_column"),
    ("def verify():\n    assert f(2) == 4", r"verify \(line 1\) is never called"),
    ("def test_f(tmp_path):\n    assert f(2) == 4", "tmp_path, which nothing gives"),
    ("assert True", "asks nothing of the program"),
    ("def g(x): return 4\nassert g(2) == 4", "asks nothing of the program"),
    ("assert f(2) ==", "is no Python"),
    ("import numpy as np\nassert np.all(f(2) == 4)", "imports numpy"),
    ("['assert f(2) == 4' 'assert f(3) == 9']", "is no Python"),
    ('[{"input": "3", "output": "9", "testtype": "functional"}]', "entry_point_column=metadata"),
    ('{"inputs": ["3"], "outputs": ["9", "8"]}', "1 inputs and 2 outputs"),
    ('{"inputs": [[3]], "outputs": [[9]], "fn_name": "f(x"}', "whose function is called"),
]


def scores(tests: Any, name: Any = None) -> list[float | None]:
    grade = reward("code", workers=1, entry_point_column="name", wall_seconds=30.0)
    completions = [RIGHT, WRONG, TEXT]
    return grade(["Write f."] * 3, completions, tests=[tests] * 3, name=[name] * 3)


@pytest.mark.skipif(strongest() is None, reason="neither bubblewrap nor namespaces work")
class TestValues:
    @pytest.mark.parametrize(("tests", "name"), RUN)
    def test_a_right_program_passes_and_a_wrong_one_does_not(self, tests: Any, name: Any) -> None:
        """Tests that run nothing, which pay every program; calls that are read as input."""
        assert scores(tests, name) == [1.0, 0.0, 0.0]

    @pytest.mark.parametrize(
        "tests", ['{"inputs": [[3]], "outputs": [[9]], "fn_name": "f"}', CHECK]
    )
    def test_a_method_of_solution_may_be_meant(self, tests: str) -> None:
        """LeetCode's programs, which define no function."""
        grade = reward("code", workers=1, entry_point_column="name", wall_seconds=30.0)
        columns = {"tests": [tests], "name": ["Solution().f"]}
        assert grade([""], [METHOD], **columns) == [1.0]

    @pytest.mark.parametrize(
        "tests",
        ["try:\n    assert f(2) == 4\nexcept Exception:\n    pass", [["3", ""], ["4", "\n"]]],
    )
    def test_what_an_empty_program_passes_is_refused(self, tests: Any) -> None:
        """A test that cannot fail, though it asserts something."""
        with pytest.raises(UserError, match="which an empty program passes"):
            scores(tests)


@pytest.mark.parametrize(("tests", "why"), REFUSED)
def test_what_cannot_fail_or_pass_is_refused(tests: Any, why: str) -> None:
    """A reward of 1 for every program, or of 0."""
    with pytest.raises(UserError, match=f"(?s)in the column 'tests'.*{why}"):
        read_tests(tests, "tests")


def test_rows_are_looked_at_before_the_training() -> None:
    """A mistake in row 9,000 that ends the run after hours."""
    grade = reward("code")
    problems = grade.row_problems({"tests": ["assert f(2) == 4", "f(2) == 4", None, 5]})
    assert [index for index, _ in problems] == [1, 3]
