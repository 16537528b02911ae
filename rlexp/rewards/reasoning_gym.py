"""Whether the answer to a task of reasoning-gym is right, by the task's own scorer.

The scorers are the package's (`score_answer` of each data set), and some of them evaluate what the
policy wrote: they run in the sandbox (`rlexp.sandbox`), a process for each answer, and see what
`rlexp.rewards.common.plain_answers` lets through. An answer on which a scorer raises, or comes to
no end, is wrong. Scorers differ in what they forgive: before training each is asked about the rows'
own answers, which must be right, and about texts without content, which must not be.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rlexp.rewards.base import column_of, texts_of
from rlexp.rewards.common.plain_answers import final_answer, may_be_scored
from rlexp.rewards.common.sandboxed import (
    Sandbox,
    sandbox_failures,
    sandbox_in_words,
    sandbox_problems,
    shared_pool,
)
from rlexp.runtime.extras import missing_packages
from rlexp.sandbox.limits import Limits
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, DataColumns, Place, RewardSpec, Text, Value

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_SCORER = """
import json, sys
from reasoning_gym import create_dataset
from rlexp.sandbox.wire import from_wire
row, answer = json.load(sys.stdin)
dataset = create_dataset(row["task"], **{**row["options"], "size": 1, "seed": 0})
value = dataset.score_answer(answer, from_wire(row["entry"], None))
print()
print(float(value))
"""
_LOOKED_AT = 8
"""Rows of each task that its scorer is tried on."""
_EMPTY_TALK = ("0", "yes", "I don't know.")


class ReasoningGym(RewardSpec):
    """1 where the task's scorer gives full marks, otherwise 0; with `partial`, its marks.

    The answer is what stands in `<answer>…</answer>`, of several blocks none, otherwise the whole
    completion without its reasoning. An empty completion scores 0; a row without entry has no
    value.
    """

    place: ClassVar[Place] = "threads"

    column: str
    """Data column with the entries that the scorers read, as `data=reasoning_gym` has it."""
    partial: bool
    """Whether answers that the scorer finds partly right earn a part. Many scorers give some to any
    text, or to a long one that holds the answer."""
    sandbox: Sandbox
    """By which means scorers are cut off; `auto` takes the strongest but never `rlimits`, under
    which an answer that breaks out can read what this user can read."""
    workers: int | None = Field(ge=1)
    """Answers that are scored at once; null: one for each core."""
    seconds: int = Field(ge=1)
    """Time for an answer, in seconds; one that takes longer is wrong."""
    memory_mib: int = Field(ge=256)
    """Address space of a scorer, in MiB, the package's own 250 included."""

    def problems(self) -> list[Problem]:
        missing = missing_packages("reasoning_gym", "reasoning", "reward")
        return [*missing, *sandbox_problems(self.sandbox)]

    def columns(self) -> set[str]:
        return {self.column}

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def notes(self) -> list[str]:
        return [f"reasoning-gym's scorers ran in a sandbox: {sandbox_in_words(self.sandbox)}"]

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Say which sandbox is in force."""
        log.info("the sandbox of reward=%s: %s", self.name, sandbox_in_words(self.sandbox))

    def row_problems(self, columns: DataColumns) -> list[tuple[int, Problem]]:
        """Return cells that are no entries, and the first rows of tasks whose scorers are of no
        use: the right answer fails, or texts without content earn as much."""
        problems: list[tuple[int, Problem]] = []
        tried: dict[str, list[int]] = {}
        rows: dict[int, dict[str, Any]] = {}
        for index, cell in enumerate(column_of(columns, self.column)):
            if cell is None:
                continue
            row = _entry_in(cell)
            if row is None:
                problems.append((index, _no_entry(cell, self.column)))
            elif len(of_task := tried.setdefault(row["task"], [])) < _LOOKED_AT:
                of_task.append(index)
                rows[index] = row
        for task, indices in tried.items():
            if problem := self._scorer_problem(task, [rows[index] for index in indices]):
                problems.append((indices[0], problem))
        return problems

    def _scorer_problem(self, task: str, rows: list[dict[str, Any]]) -> Problem | None:
        """Return what is wrong with a task's scorer, by rows of which the answers are known."""
        answers = [(row, answer) for row in rows if (answer := _right_answer(row)) is not None]
        right = self._values(answers)
        remedy = "Choose another data.task, or a reward that compares the column `answer`."
        if min(right, default=1) < 1:
            got = f"{task}, whose scorer gives its own right answer {min(right):g}"
            return Problem("reward", got, "a scorer by which right answers are right", remedy)
        for text in _EMPTY_TALK:
            if min(self._values([(row, text) for row in rows])) >= 1:
                got = f"{task}, whose scorer finds {text!r} right whatever is asked"
                return Problem("reward", got, "a scorer by which wrong answers fail", remedy)
        return None

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: no sandbox works, or the data lacks the column.
            RunFailed: the sandbox breaks down.
        """
        cells = column_of(columns, self.column)
        answers = map(final_answer, texts_of(completions))
        pairs = zip(cells, answers, strict=True)
        asked = {i: (json.loads(cell), text) for i, (cell, text) in enumerate(pairs) if cell}
        values = dict(zip(asked, self._values([*asked.values()]), strict=True))
        return [values.get(index) for index in range(len(cells))]

    def _values(self, asked: Sequence[tuple[dict[str, Any], str]]) -> list[float]:
        """Return what answers to rows are worth; those that a scorer must not see are wrong."""
        seen = {
            index: json.dumps([row, answer])
            for index, (row, answer) in enumerate(asked)
            if may_be_scored(answer, row["task"], _right_answer(row))
        }
        if not seen:
            return [0.0] * len(asked)
        with sandbox_failures(self.name):
            pool = shared_pool(self.sandbox, self._limits(), self.workers, ("reasoning_gym",))
            printed = dict(zip(seen, pool.outputs(_SCORER, seen.values()), strict=True))
        return [self._value(printed.get(index)) for index in range(len(asked))]

    def _value(self, printed: str | None) -> float:
        marks = min(1.0, max(0.0, _number_in(printed or "")))
        return marks if self.partial else float(marks >= 1)

    def _limits(self) -> Limits:
        return Limits(
            cpu_seconds=self.seconds,
            wall_seconds=2.0 * self.seconds,
            memory_mib=self.memory_mib,
            disk_mib=1,
            output_kib=64,
            processes=1,
            open_files=64,
        )


def _number_in(printed: str) -> float:
    """Return what a scorer has printed; 0 for what is no number, which an answer that breaks out
    may print in its place."""
    try:
        return float(printed.split()[-1])
    except (ValueError, IndexError):
        return 0.0


def _right_answer(row: dict[str, Any]) -> str | None:
    """Return the right answer of an entry, which is in the sandbox's form of plain data; None where
    the task gives none."""
    answer = dict(row["entry"]["dict"])["answer"]
    return None if answer is None else str(answer)


def _entry_in(cell: object) -> dict[str, Any] | None:
    try:
        row = json.loads(str(cell))
        _right_answer(row)
        return row if {"task", "options"} <= row.keys() else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _no_entry(cell: object, column: str) -> Problem:
    got = f"{str(cell)!r:.80} in the column {column!r}"
    remedy = "Take data=reasoning_gym, which has the column `entry`."
    return Problem("reward.column", got, "an entry that data=reasoning_gym has made", remedy)
