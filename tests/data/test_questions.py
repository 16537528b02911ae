"""The embedded questions: rows by seed, right answers, sides that share no question."""

from __future__ import annotations

import json
import re

import pytest
from data_specs import data_spec, problems_of

from rlexp.builtin.questions import TASKS, Question, sample_questions
from rlexp.data.load import load_data
from rlexp.data.parsing.values import Row


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_decides_and_no_question_comes_twice(task: str) -> None:
    """Rows of the clock or of a set's order; a question that counts twice in an interval."""
    questions = sample_questions(task, 300, seed=1)
    assert questions == sample_questions(task, 300, seed=1)
    assert questions != sample_questions(task, 300, seed=2)
    assert len({question.text for question in questions}) == len(questions) > 30


@pytest.mark.parametrize("task", TASKS)
def test_held_out_questions_are_not_trained_on(task: str) -> None:
    splits = load_data(data_spec("questions", task=task), "prompts")
    trained, held_out = ({row["prompt"] for row in side} for side in (splits.train, splits.heldout))
    assert trained and held_out and not trained & held_out


def answered(task: str) -> list[Question]:
    return sample_questions(task, 200, seed=0)


def test_sums_are_right() -> None:
    for question in answered("sums"):
        assert sum(map(int, re.findall(r"\d+", question.text))) == int(question.answer)


def test_one_sum_is_held_out_in_all_its_words() -> None:
    """`7 + 2`, which the training knows as `2 plus 7`."""
    splits = load_data(data_spec("questions", task="sums"), "prompts")
    sides = [
        {tuple(sorted(re.findall(r"\d+", row["prompt"]))) for row in side}
        for side in (splits.train, splits.heldout)
    ]
    assert len(sides[1]) >= 8 and not sides[0] & sides[1]


def test_answers_stand_in_the_sentence() -> None:
    """A colour or owner of the other thing; an age in the place of the name."""
    for question in (*answered("colours"), *answered("cities")):
        words = re.findall(r"\w+", question.text)
        assert [word for word in words if word in question.choices] == [question.answer]
    for question in answered("ages"):
        assert f"is {question.answer} years old" in question.text
    for question in answered("people"):
        person = json.loads(question.answer)
        assert person["name"] in question.text
        assert re.findall(r"\d+", question.text) == [str(person["age"])]


def test_rows_carry_what_rewards_read() -> None:
    read = data_spec("questions", task="colours", size=20).read()
    row: Row = read.train[0]
    assert row["completion"] == row["answer"] and row["answer"] in row["choices"]


def test_a_wrong_task_is_told_with_the_nearest() -> None:
    (problem,) = problems_of(data_spec("questions", task="colors"))
    assert (problem.key, problem.remedy) == ("data.task", "Did you mean colours?")
