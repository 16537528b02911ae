"""The reward `code` against values worked out by hand."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from reward_specs import fields_of, mistakes, reward
from runs import spec_of

from rlexp.rewards.code import Code
from rlexp.rewards.common import sandboxed as sandbox_room
from rlexp.rewards.common.code_blocks import code_of
from rlexp.rewards.common.code_tests import read_tests
from rlexp.runtime.paths import CONF
from rlexp.sandbox.choice import strongest
from rlexp.sandbox.pool import Asserts, Prints
from rlexp.spec.errors import UserError

RIGHT = "Here:\n```python\ndef f(x):\n    return x + 1\n```"
HALF = "```py\ndef f(x):\n    return 2\n```\nand ```inline```"
WRONG = "```\ndef f(x)\n```"
TESTS = ["assert f(1) == 2", "assert f(2) == 3"]

works = pytest.mark.skipif(strongest() is None, reason="neither bubblewrap nor namespaces work")


def grader(**changes: Any) -> Code:
    code_reward = reward("code", **{"workers": 2, "wall_seconds": 30.0, **changes})
    assert isinstance(code_reward, Code)
    return code_reward


def scored(grader: Code, *completions: Any, tests: Any = TESTS) -> list[float | None]:
    n = len(completions)
    return grader(["Write f."] * n, list(completions), tests=[tests] * n)


@works
class TestValues:
    def test_is_the_share_of_tests_passed(self) -> None:
        """All or nothing; a syntax error that raises; an empty completion that counts."""
        assert scored(grader(), RIGHT, HALF, WRONG, "", "So: 2") == [1.0, 0.5, 0.0, 0.0, 0.0]

    def test_weights_make_a_mean(self) -> None:
        """A sum that leaves [0, 1]; an empty completion that parses, which teaches silence."""
        mixed = grader(tests=2.0, syntax=1.0, style=1.0)
        styled = RIGHT.replace("x + 1", "x + 1;")
        assert scored(mixed, RIGHT, HALF, WRONG, "", styled) == [1.0, 0.75, 0.25, 0.0, 0.875]

    def test_syntax_alone_needs_no_tests(self) -> None:
        """A program that is run, or a row that is left out, where only its form is asked."""
        grade = grader(tests=0.0, syntax=1.0)
        assert scored(grade, RIGHT, WRONG, "```\n# nothing\n```", tests=None) == [1.0, 0.0, 0.0]

    def test_a_row_without_tests_has_no_value(self) -> None:
        """0 for a right program that nothing was asked of."""
        given: list[Any] = [None, [], "", TESTS]
        assert grader()([""] * 4, [RIGHT] * 4, tests=given) == [None, None, None, 1.0]

    def test_messages(self) -> None:
        """A chat model's answer, which is a list of turns."""
        assert scored(grader(), [{"role": "assistant", "content": RIGHT}]) == [1.0]

    def test_the_prompt_may_begin_the_program(self) -> None:
        """HumanEval: the policy writes a body, which by itself is no program."""
        grade = grader(scope="whole")
        values = grade(["def f(x):\n"], ["    return x + 1\n"], tests=[TESTS])
        assert values == [1.0]

    def test_setup_comes_from_its_column(self) -> None:
        """MBPP's test_setup_code, ignored."""
        grade = grader(setup_column="before")
        code = "def f(x): return x + ONE"
        assert grade([""], [code], tests=[TESTS], before=["ONE = 1"]) == [1.0]

    def test_survives_pickling_before_and_after_use(self) -> None:
        """A pool of threads that cannot go to another process."""
        grade = grader()
        assert scored(pickle.loads(pickle.dumps(grade)), RIGHT) == scored(grade, RIGHT)
        assert scored(pickle.loads(pickle.dumps(grade)), HALF) == [0.5]
        assert grade([], [], tests=[]) == []

    def test_says_which_sandbox_is_in_force(self, caplog: pytest.LogCaptureFixture) -> None:
        """Isolation that nobody can see from the run."""
        with caplog.at_level(logging.INFO):
            grader().prepare("cpu", lambda *_: Path())
        assert "bubblewrap" in caplog.text or "namespaces" in caplog.text
        (note,) = reward("mix", terms={"c": {**_config(), "weight": 1.0}}).notes()
        assert "sandbox" in note


def _config() -> dict[str, Any]:
    kind, fields = fields_of(CONF / "reward" / "code.yaml")
    return {"_target_": f"{kind.__module__}.{kind.__name__}", **fields}


class TestSandboxIsWanted:
    @pytest.fixture(autouse=True)
    def nothing_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sandbox_room, "strongest", lambda: None)
        monkeypatch.setattr(
            sandbox_room, "obstacle", lambda means: None if means == "rlimits" else "not allowed"
        )

    @pytest.mark.parametrize("sandbox", ["auto", "bubblewrap", "namespaces"])
    def test_refuses_to_run_without(self, sandbox: str) -> None:
        """Code that nobody has read, run with the user's rights."""
        grade = grader(sandbox=sandbox)
        (problem,) = grade.problems()
        assert problem.key == "reward.sandbox"
        assert "not allowed" in problem.got
        assert "bubblewrap" in problem.remedy
        with pytest.raises(UserError, match="not allowed"):
            scored(grade, RIGHT)

    def test_the_command_line_says_so(self) -> None:
        """A problem that is found when the first completion arrives."""
        with pytest.raises(UserError, match=r"reward\.sandbox: got auto"):
            spec_of("reward=code")

    def test_knowingly_it_runs(self) -> None:
        """No way for a machine without namespaces."""
        grade = grader(sandbox="rlimits")
        assert grade.problems() == []
        assert "can read this user's files" in grade.notes()[0]


@pytest.mark.parametrize(
    ("text", "block", "fenced", "code"),
    [
        ("x = 1", "last", False, "x = 1"),
        ("x = 1", "last", True, ""),
        ("```python\na\n```\n```python\nb\n```", "first", False, "a\n"),
        ("```python\na\n```\n```python\nb\n```", "last", False, "b\n"),
        ("```python\na\n```\n```bash\nb\n```", "last", False, "a\n"),
        ("```python\na\n", "last", True, "a\n"),
        ("``` Python3 title\na\n```", "last", True, "a\n"),
        ("- so\n  ```python\n  a\n  ```", "last", True, "a\n"),
        ("```bash\nls\n```", "last", True, ""),
        ("```python\ns = '```'\n```", "last", True, "s = '```'\n"),
    ],
)
def test_finds_the_block(text: str, block: Any, fenced: bool, code: str) -> None:
    """Another language's block, a fence that was cut off, back-ticks inside of a string."""
    assert code_of(text, block, fenced) == code


@pytest.mark.parametrize(
    ("value", "tests"),
    [
        ("assert f()", (Asserts("assert f()"),)),
        ('["assert f()", "assert g()"]', (Asserts("assert f()"), Asserts("assert g()"))),
        ([["1\n", "2\n"]], (Prints("1\n", "2\n"),)),
        ('{"inputs": ["1"], "outputs": ["2"]}', (Prints("1", "2"),)),
        ({"inputs": [["1", "2"]], "outputs": [["3"]]}, (Prints("1\n2", "3"),)),
        ([{"input": "1", "output": "2"}], (Prints("1", "2"),)),
        (None, ()),
        ("[]", ()),
    ],
)
def test_reads_the_common_forms(value: Any, tests: tuple[Any, ...]) -> None:
    """The forms of MBPP, HumanEval and APPS."""
    assert read_tests(value, "tests") == tests


@pytest.mark.parametrize("value", [3, [3], [["a"]], {"a": 1}, "3", [["a", 2]]])
def test_another_form_is_named(value: Any) -> None:
    """Tests that nothing can pass, so that every program scores 0 for ever."""
    with pytest.raises(UserError, match=r"(?s)reward\.column.*in the column 'tests'.*sources"):
        read_tests(value, "tests")


@works
def test_a_column_that_the_data_lacks_is_named() -> None:
    """A KeyError from inside the trainer."""
    with pytest.raises(UserError, match=r"reward\.column: got tests"):
        grader()([""], [RIGHT])


def test_weights_of_nothing_are_a_mistake() -> None:
    """A division by zero when the first completion arrives."""
    assert list(mistakes("code", tests=0.0)) == ["reward.style"]


def test_the_yaml_has_each_field() -> None:
    """A default in Python instead of the yaml."""
    kind, fields = fields_of(CONF / "reward" / "code.yaml")
    assert set(fields) == set(kind.model_fields)
