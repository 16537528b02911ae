"""Questions that rlexp makes itself, each with the right answer: no file and no network."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import Field

from rlexp.builtin.questions import TASKS, Question, sample_questions
from rlexp.data.derived.split import split
from rlexp.data.parsing.values import Row
from rlexp.spec.data import DataSource, Kind, Rows
from rlexp.spec.errors import Problem, Problems


class Questions(DataSource):
    """Questions of one task; their answers stand in `completion`, and for rewards in `answer`.

    Column `choices` has what may be answered, where that is one of a few words.
    """

    task: str
    """What is asked: one of `rlexp.builtin.questions.TASKS`."""
    size: int = Field(gt=1)
    """Questions, all different, held-out ones included; a task that has fewer gives all it has."""
    seed: int = Field(ge=0)
    """Of the questions."""

    def problems(self) -> Problems:
        if self.task in TASKS:
            return []
        near = get_close_matches(self.task, TASKS, n=1)
        remedy = f"Did you mean {near[0]}?" if near else ""
        return [Problem("data.task", self.task, f"one of {', '.join(TASKS)}", remedy)]

    def kind(self) -> Kind:
        return "demonstrations"

    def extra_columns(self) -> set[str]:
        return {"answer", "choices"}

    def read(self) -> Rows:
        """Make the rows; questions that ask for one fact stand on one side.

        Raises:
            UserError: a share that leaves a side empty.
        """
        questions = sample_questions(self.task, self.size, self.seed)
        source = f"questions of {self.task}, {len(questions)}, seed {self.seed}"
        facts: list[Row] = [{"prompt": _fact(question)} for question in questions]
        held_out = {row["prompt"] for row in split(facts, self.eval_fraction, source)[1]}
        sides: dict[bool, list[Row]] = {False: [], True: []}
        for question in questions:
            sides[_fact(question) in held_out].append(_row(question))
        return Rows(sides[False], sides[True], source)


def _fact(question: Question) -> str:
    return question.fact or question.text


def _row(question: Question) -> Row:
    return {
        "prompt": question.text,
        "completion": question.answer,
        "answer": question.answer,
        "choices": [*question.choices],
    }
