"""`reward=reasoning_gym`: the package's scorers in the sandbox, and what is tried to fool them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest
from reward_specs import reward

from rlexp.rewards.common.plain_answers import EVALUATES, PARSES, may_be_scored
from rlexp.sandbox.choice import strongest
from rlexp.sandbox.wire import to_wire

pytestmark = [
    pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="extra reasoning"),
    pytest.mark.skipif(strongest() is None, reason="no sandbox works here"),
]


def entry(task: str, question: str, answer: str, **metadata: Any) -> str:
    item = {"question": question, "answer": answer, "metadata": metadata}
    return json.dumps({"task": task, "options": {}, "entry": to_wire(item, lambda value: {})})


CHAIN = entry("chain_sum", "3 + 4 - 4 =", "3")
PUZZLE = entry("puzzle24", "2 3 4 5?", "", numbers=[4, 6, 1, 1])
INTEGRAL = entry("simple_integration", "∫ 2*x dx", "x**2 + C", integrand="2*x", variable="x")
INSERTION = entry("string_insertion", "ABCD", "ABCDA", string="ABCD")
COMPLEX = entry("complex_arithmetic", "(1+2i) + 0", "1 + 2i", result=(1, 2))


def values(cell: str, *completions: str, **knobs: Any) -> list[float | None]:
    graded = reward("reasoning_gym", workers=1, **knobs)
    return graded(["?"] * len(completions), list(completions), entry=[cell] * len(completions))


def test_what_counts_as_the_answer() -> None:
    """A policy that gives several answers, or reasons with the right one and answers another."""
    texts = [
        "3",
        " 3\n",
        "<think>4? no: 3</think>3",
        "So <answer>3</answer>!",
        "<answer>3</answer><answer>4</answer>",
        "<think>3",
        "",
    ]
    assert values(CHAIN, *texts) == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_partly_right_answers_earn_only_where_that_is_asked() -> None:
    """`30` for `3`, to which the package's usual scorer gives half."""
    assert values(CHAIN, "30", "3 + 4 - 4 =") == [0.0, 0.0]
    assert values(CHAIN, "30", partial=True) == [0.5]


def test_formulas_and_lists_reach_the_scorers_that_evaluate() -> None:
    assert values(PUZZLE, "4 * 6 * 1 * 1", "4 * 6") == [1.0, 0.0]
    assert values(INTEGRAL, "x**2 + C", "x**2 + sin(3)", "x**3") == [1.0, 1.0, 0.0]
    assert values(INSERTION, "ABCDA", "['A', 'B', 'C', 'D', 'A']", partial=True) == [1.0, 0.1]


@pytest.mark.parametrize("cell", [PUZZLE, INTEGRAL, INSERTION], ids=["24", "integral", "insertion"])
def test_an_answer_cannot_speak_for_the_scorer(cell: str) -> None:
    """A program as answer, which prints the score that it wants, or never ends."""
    attacks = [
        "__import__('os').write(1, b'1.0') and __import__('os')._exit(0)",
        "print('1.0') or exit(0)",
        "[c for c in ().__class__.__base__.__subclasses__()]",
        "sin('__import__(\"os\")._exit(0)')",
        "x*'exit(0)'",
        "(lambda: 24)()",
        "9**9**9**9",
        "(" * 2000,
    ]
    assert values(cell, *attacks, seconds=1) == [0.0] * len(attacks)


def test_code_is_seen_by_no_scorer_that_evaluates() -> None:
    """An attack that the sandbox alone would have to stop."""
    for task in EVALUATES | PARSES:
        for text in ("exit(0)", "x.real", "f'{x}'", "x[0]", "(y := 3)", "sqrt(x=3)", "__name__"):
            assert not may_be_scored(text, task, "24"), (task, text)
    assert not may_be_scored("exit(0)!", "puzzle24", "24")  # which SymPy would rewrite


def test_no_number_is_right_for_all_numbers() -> None:
    """`nan`, that compares false, and so is never found wrong."""
    assert values(COMPLEX, "nan", "nan + nani", "1 + 2i") == [0.0, 0.0, 1.0]


def test_rows_say_which_scorers_are_of_no_use() -> None:
    """A scorer that finds all texts right; one that does not know its own answer; no entry."""
    graded = reward("reasoning_gym", workers=1)
    all_right = entry("game_of_life_halting", "Will it halt?", "True", solution=True)
    never_right = entry("puzzle24", "4 6 1 1?", "25", numbers=[4, 6, 1, 1])
    found = graded.row_problems(
        {"entry": [CHAIN, all_right, None, never_right, '{"task": 1}', "3"]}
    )
    assert [index for index, _ in found] == [4, 5, 1, 3]
    assert "whatever is asked" in found[2][1].got and "own right answer" in found[3][1].got


def test_a_row_without_entry_has_no_value() -> None:
    """A mix with questions of another data set, which would count as wrong."""
    graded = reward("reasoning_gym", workers=1)
    assert graded(["?"] * 2, ["3", "3"], entry=[None, CHAIN]) == [None, 1.0]
