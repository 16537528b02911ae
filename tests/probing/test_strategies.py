"""What each strategy answers, and where it has nothing to answer."""

from __future__ import annotations

from typing import get_args

import pytest
from probed_rewards import ROWS, material

from rlexp.probing.material import answers_to
from rlexp.probing.strategies import STRATEGIES, Answers
from rlexp.spec.reward import StrategyKind

FIRST = ROWS[0]["prompt"]


def variants(name: str, **knobs: object) -> list[Answers]:
    [strategy] = [strategy for strategy in STRATEGIES if strategy.name == name]
    return [*strategy.variants(material(**knobs))]  # pyright: ignore[reportArgumentType]


def test_names_and_kinds() -> None:
    """Two strategies that a table, or a resumed run, takes for one; a kind that nobody plays."""
    assert len({strategy.name for strategy in STRATEGIES}) == len(STRATEGIES)
    assert {strategy.kind for strategy in STRATEGIES} == set(get_args(StrategyKind))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("an empty answer", ""),
        ("an end token at once", "</s>"),
        ("echo of the prompt", FIRST),
        ("echo of its last sentence", "How many are 3 + 4?"),
        ("every number of the prompt", "3, 3, 4"),
        ("its numbers, to be reckoned", "3 + 3 + 4"),
        ("another row's answer", "They are\n15"),
        ("a list of all answers", "7, 15, 10, 20"),
        ("one constant answer", "7"),
        ('"I don\'t know"', "I don't know."),
    ],
)
def test_what_the_first_prompt_is_answered(name: str, first: str) -> None:
    """An answer that knows the row, or is of another strategy."""
    assert variants(name)[0][0] == first


def test_every_strategy_answers_all_prompts_or_none() -> None:
    """Answers that slip by a row: each would be scored with its neighbour's columns."""
    for strategy in STRATEGIES:
        for answers in strategy.variants(material()):
            assert len(answers) == len(ROWS), strategy.name


@pytest.mark.parametrize(
    "name", ["another row's answer", "a list of all answers", "one constant answer"]
)
def test_without_references_there_is_nothing_to_copy(name: str) -> None:
    """A crash on prompts alone, or None as an answer."""
    assert variants(name, answers=[None] * len(ROWS)) == []
    assert variants("another row's answer", answers=["7"] * len(ROWS)) == []


def test_another_rows_answer_is_another_one() -> None:
    """The row's own answer, which another row has too: it would seem that copying pays."""
    answers = ["7", "7", "8", None]
    [others] = variants("another row's answer", answers=answers)
    assert others == ["8", "8", "7", None]


def test_the_most_frequent_answer_comes_first() -> None:
    """A constant that is as rare as any, though half of the rows have the same answer."""
    assert variants("one constant answer", answers=["A", "B", "C", "B"])[0][0] == "B"


def test_room_is_kept_to() -> None:
    """Answers that no policy is allowed to give."""
    for name in ("the longest answer allowed", "a repeated word", "a list of all answers"):
        for answers in variants(name, tokens=8):
            assert len(str(answers[0]).split()) <= 6, name
    [longest] = variants("the longest answer allowed", tokens=40)
    assert len(str(longest[0]).split()) == 30


def test_code_in_prompts_is_found() -> None:
    """Blocks, spans, and the lines of a bare definition; none in prose."""
    prompts = ["Mend:\n```python\nx = 1\n```", "Call `f(2)`.", "def f(x):\n    return x", "Hello."]
    [echoes] = variants("echo of its code", rows=[{"prompt": text} for text in prompts])
    assert echoes == [
        "```python\nx = 1\n\n```",
        "```python\nf(2)\n```",
        "```python\ndef f(x):\n    return x\n```",
        None,
    ]


def test_the_rewards_own_form_is_tried() -> None:
    """A form that is not one of the usual ones, and pays."""
    from dataclasses import replace

    [strategy] = [strategy for strategy in STRATEGIES if strategy.kind == "form"]
    texts = [answers[0] for answers in strategy.variants(replace(material(), forms=("<a>.</a>",)))]
    assert texts[0] == "<a>.</a>" and "```python\npass\n```" in texts


def test_messages_are_answered_by_a_turn() -> None:
    """A text where a chat model's answers are messages."""
    chat = [{"role": "user", "content": "Hi"}]
    assert answers_to([chat, "Hi"], ["a", "b"]) == [[{"role": "assistant", "content": "a"}], "b"]
    rows = [{"prompt": [{"role": "system", "content": "Be kind."}, *chat]}]
    assert material(rows=rows, answers=[[{"role": "assistant", "content": "x"}]]).asked == ["Hi"]
