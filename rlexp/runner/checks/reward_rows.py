"""What the data holds that its rewards cannot score, by file and line, before anything is loaded.

A reward would find it when the row's turn comes, in the middle of the training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rlexp.data.load import Splits
from rlexp.data.parsing.columns import raise_problems
from rlexp.spec.errors import Problem
from rlexp.spec.reward import RewardSpec
from rlexp.spec.run import RunSpec


def check_reward_rows(spec: RunSpec, splits: Splits) -> None:
    """Have the run's rewards look at the rows that they will score.

    Raises:
        UserError: with each row's file and line where the data is a file, otherwise its column.
    """
    rows = [*splits.train, *splits.heldout]
    problems: list[Problem] = []
    for key, reward in _rewards(spec):
        columns = {name: [row.get(name) for row in rows] for name in reward.columns()}
        wrong = [(splits.place_of(rows[i]), problem) for i, problem in reward.row_problems(columns)]
        for place, problem in sorted(wrong, key=_line):
            own = problem.under(key)
            problems.append(own if place == splits.source else replace(own, key=place))
    raise_problems(problems, splits.source)


def _line(placed: tuple[str, Problem]) -> tuple[str, int]:
    path, _, line = placed[0].rpartition(":")
    return path, int(line) if line.isdigit() else 0


def _rewards(spec: RunSpec) -> Iterator[tuple[str, RewardSpec]]:
    for name, term in spec.reward.terms_by_name().items():
        yield f"reward.terms.{name}" if name else "reward", term.reward
    for name, reward in spec.eval.gold_checked[0].items():
        yield f"eval.gold.{name}", reward
