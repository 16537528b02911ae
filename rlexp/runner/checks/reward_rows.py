"""What the data holds that its rewards cannot score, by file and line, before anything is loaded.

A reward would find it when the row's turn comes, in the middle of the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

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
        wrong = reward.row_problems(columns)
        places = _places(spec, [rows[index] for index, _ in wrong], reward.columns())
        placed = sorted(zip(places, (problem for _, problem in wrong), strict=True), key=_line)
        for place, problem in placed:
            own = problem.under(key)
            problems.append(replace(own, key=place) if place else own)
    raise_problems(problems, splits.source)


def _line(placed: tuple[str, Problem]) -> tuple[str, int]:
    path, _, line = placed[0].rpartition(":")
    return path, int(line or 0)


def _rewards(spec: RunSpec) -> Iterator[tuple[str, RewardSpec]]:
    for name, term in spec.reward.terms_by_name().items():
        yield f"reward.terms.{name}" if name else "reward", term.reward
    for name, reward in spec.eval.gold_checked[0].items():
        yield f"eval.gold.{name}", reward


def _places(spec: RunSpec, rows: list[Mapping[str, Any]], columns: set[str]) -> list[str]:
    """Return file and line of each row, found by what it holds; empty where the data is no file."""
    read = spec.data.read() if rows else None
    if read is None or not read.places:
        return [""] * len(rows)
    placed: dict[str, list[str]] = {}
    for row, place in zip(
        [*read.train, *(read.heldout or [])], [*read.places, *read.heldout_places], strict=True
    ):
        placed.setdefault(_cells(row, columns), []).append(place)
    return [placed[_cells(row, columns)].pop(0) for row in rows]


def _cells(row: Mapping[str, Any], columns: set[str]) -> str:
    return repr([row.get(name) for name in sorted(columns)])
