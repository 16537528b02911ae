"""Questions that rlexp makes itself, each with the right answer: no file, no network, no package."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import Field

from rlexp.builtin.questions import TASKS, sample_questions
from rlexp.spec.data import DataSource, Kind, Rows
from rlexp.spec.errors import Problem, Problems


class Questions(DataSource):
    """Questions of one task; their answers stand in `completion`, and for rewards in `answer`."""

    task: str
    """What is asked: one of `rlexp.builtin.questions.TASKS`."""
    size: int = Field(gt=1)
    """Questions, all different; a task that has fewer gives all that it has."""
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
        return {"answer"}

    def read(self) -> Rows:
        rows = [
            {"prompt": text, "completion": answer, "answer": answer}
            for text, answer in sample_questions(self.task, self.size, self.seed)
        ]
        return Rows(rows, None, f"questions of {self.task}, {len(rows)}, seed {self.seed}")
