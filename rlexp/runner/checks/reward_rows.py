"""What the data holds that a run's rewards cannot score, or its algorithm cannot use, by file and
line, before anything is loaded.

They would find it when the row's turn comes, in the middle of the training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rlexp.data.load import Splits
from rlexp.data.parsing.columns import raise_problems
from rlexp.spec.errors import Problem
from rlexp.spec.reward import ENDED, TOKENS, DataColumns, RewardSpec
from rlexp.spec.run import RunSpec

Rows = list[dict[str, Any]]


def check_reward_rows(spec: RunSpec, splits: Splits) -> None:
    """Have the run's rewards look at the rows that they will score.

    Raises:
        UserError: with each row's file and line where the data is a file, otherwise its column.
    """
    rows = [*splits.train, *splits.heldout]
    raise_problems(_overwritten(rows), splits.source)
    problems: list[Problem] = []
    for key, reward in _rewards(spec):
        wrong = reward.row_problems(_columns(rows, reward.columns()))
        problems += _placed([(i, problem.under(key)) for i, problem in wrong], rows, splits)
    raise_problems(problems, splits.source)


def _overwritten(rows: Rows) -> list[Problem]:
    """Return a problem for each column in whose place rewards are told of the answers' tokens."""
    names = {name for row in rows for name in row}
    want = "another name: rewards find the tokens of answers by this one"
    remedy = "Rename the column."
    return [
        Problem("data", f"a column {name}", want, remedy)
        for name in sorted({TOKENS, ENDED} & names)
    ]


def check_algo_rows(spec: RunSpec, splits: Splits) -> None:
    """Have the run's algorithm look at its training rows; raise as `check_reward_rows` does."""
    names = set().union(*spec.algo.columns().values())
    wrong = spec.algo.row_problems(_columns(splits.train, names))
    raise_problems(_placed(wrong, splits.train, splits), splits.source)


def _columns(rows: Rows, names: set[str]) -> DataColumns:
    return {name: [row.get(name) for row in rows] for name in names}


def _placed(wrong: list[tuple[int, Problem]], rows: Rows, splits: Splits) -> list[Problem]:
    """Return the problems of rows with the places of these for keys, in their order."""
    placed = [(splits.place_of(rows[index]), problem) for index, problem in wrong]
    return [
        problem if place == splits.source else replace(problem, key=place)
        for place, problem in sorted(placed, key=_line)
    ]


def _line(placed: tuple[str, Problem]) -> tuple[str, int]:
    path, _, line = placed[0].rpartition(":")
    return path, int(line) if line.isdigit() else 0


def _rewards(spec: RunSpec) -> Iterator[tuple[str, RewardSpec]]:
    for name, term in spec.reward.terms_by_name().items():
        yield f"reward.terms.{name}" if name else "reward", term.reward
    for name, reward in spec.eval.gold_checked[0].items():
        yield f"eval.gold.{name}", reward
