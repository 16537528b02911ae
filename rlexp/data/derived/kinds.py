"""Rows of one kind from rows of another, where that is honest (`rlexp.spec.data.DERIVABLE`)."""

from __future__ import annotations

from collections.abc import Callable

from rlexp.data.parsing.records import Row
from rlexp.spec.data import DERIVABLE, KIND_COLUMNS, Kind
from rlexp.spec.errors import Problem, UserError

_ANSWERS = {column for columns in KIND_COLUMNS.values() for column in columns} - {"prompt"}


def derive(rows: list[Row], kind: Kind, needs: Kind, source: str) -> tuple[list[Row], list[str]]:
    """Rows of the kind `needs`, and notes that say how they were made.

    Columns that are in no kind (for rewards) are kept.

    Raises:
        UserError: rows of `kind` cannot be made into `needs`, or none of them is left.
    """
    if kind == needs:
        return rows, []
    how = DERIVABLE[needs].get(kind)
    if how is None:
        ways = " or ".join([needs, *DERIVABLE[needs]])
        raise UserError(Problem("data", f"{source}, which holds {kind}", ways))
    derived = _DERIVATIONS[kind, needs](rows)
    if not derived:
        remedy = "Label some of them true, or choose an algorithm that learns from rewards."
        raise UserError(Problem("data", f"{source}: nothing for {how}", f"some {needs}", remedy))
    return derived, [f"{len(derived)} {needs}: {how}"]


def prompts_of(rows: list[Row]) -> list[Row]:
    """The rows without their answers."""
    return [{name: row[name] for name in row if name not in _ANSWERS} for row in rows]


def _chosen(rows: list[Row]) -> list[Row]:
    return [_answered(row, row["chosen"]) for row in rows]


def _labelled_true(rows: list[Row]) -> list[Row]:
    return [_answered(row, row["completion"]) for row in rows if row["label"]]


def _both_labelled(rows: list[Row]) -> list[Row]:
    return [
        _answered(row, row[answer], label=answer == "chosen")
        for row in rows
        for answer in ("chosen", "rejected")
    ]


def _answered(row: Row, completion: object, **label: bool) -> Row:
    return {**prompts_of([row])[0], "completion": completion, **label}


_DERIVATIONS: dict[tuple[Kind, Kind], Callable[[list[Row]], list[Row]]] = {
    ("pairs", "prompts"): prompts_of,
    ("demonstrations", "prompts"): prompts_of,
    ("unpaired", "prompts"): prompts_of,
    ("pairs", "demonstrations"): _chosen,
    ("unpaired", "demonstrations"): _labelled_true,
    ("pairs", "unpaired"): _both_labelled,
}
