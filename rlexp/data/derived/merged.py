"""Rows of several data sets as those of one: in the same columns, without leaks, in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeVar

from rlexp.data.derived.split import prompt_text
from rlexp.data.parsing.values import Row
from rlexp.spec.data import KIND_COLUMNS, SOURCE, source_key
from rlexp.spec.errors import Problem, UserError

T = TypeVar("T")

_OWN = {"opening", "system_turn", *chain.from_iterable(KIND_COLUMNS.values())}
"""Columns that say something also where they are missing."""
_END: Any = object()


class Sides(NamedTuple):
    """The rows of a data set that are trained on, and those that are held out."""

    train: list[Row]
    heldout: list[Row]


def mixed_sides(sides: Mapping[str, Sides]) -> tuple[dict[str, Sides], dict[str, int]]:
    """Return the rows of several data sets as those of one, and how many leaks were left out.

    Each row has the name of its data set in the column `source`, and None in columns for rewards
    that only others have. A prompt that one data set holds out is trained on in none: such rows are
    left out, and counted by the data set that they were of. (Its own two sides were parted when it
    was split.)

    Raises:
        UserError: rows that have a column `source` already, or a data set all of whose prompts are
            held out by others.
    """
    columns = {name: _reward_columns(chain(*both)) for name, both in sides.items()}
    if taken := [name for name, of_rows in columns.items() if SOURCE in of_rows]:
        raise UserError(source_column_taken(name, {*columns[name]}) for name in taken)
    empty = dict.fromkeys(chain.from_iterable(columns.values()))
    mixed, leaks, problems = {}, {}, []
    held_prompts = {name: {*map(prompt_text, both.heldout)} for name, both in sides.items()}
    for name, (train, heldout) in sides.items():
        elsewhere = set().union(*(held_prompts[other] for other in sides if other != name))
        kept = [row for row in train if prompt_text(row) not in elsewhere]
        if not kept:
            got = f"{len(train)} training rows, whose prompts are all held out by other sources"
            remedy = "Leave it out, or hold out other rows."
            problems.append(Problem(source_key(name), got, "some to train on", remedy))
        leaks[name] = len(train) - len(kept)
        mixed[name] = Sides(
            *([{**empty, **row, SOURCE: name} for row in rows] for rows in (kept, heldout))
        )
    if problems:
        raise UserError(problems)
    return mixed, leaks


def source_column_taken(name: str, columns: set[str]) -> Problem:
    """Return the problem of a data set with a column that is called as the mix's own."""
    others = ",".join(sorted(columns - {SOURCE}))
    got = f"the column {SOURCE!r} among those that are kept"
    want = f"another name: a mix writes there of which data set a row is ({name})"
    key = f"{source_key(name)}.extra"
    return Problem(key, got, want, f"Set {key}=[{others}]")


def in_turn(sequences: Iterable[Sequence[T]]) -> list[T]:
    """Return the elements of several sequences, one of each at a time; the longer ones end it.

    >>> in_turn(["abcd", "x", "12"])
    ['a', 'x', '1', 'b', '2', 'c', 'd']
    """
    turns = chain.from_iterable(zip_longest(*sequences, fillvalue=_END))
    return [element for element in turns if element is not _END]


def _reward_columns(rows: Iterable[Row]) -> dict[str, None]:
    """Return the columns that are kept for rewards, in the order in which they are met."""
    return dict.fromkeys(name for row in rows for name in row if name not in _OWN)
