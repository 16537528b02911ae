"""Rows of one kind from rows of another, where that is honest (`rlexp.spec.data.DERIVABLE`)."""

from __future__ import annotations

from collections.abc import Callable

from rlexp.data.parsing.values import Row
from rlexp.spec.data import DERIVABLE, KIND_COLUMNS, Kind
from rlexp.spec.errors import Problem, UserError

_ANSWERS = {column for columns in KIND_COLUMNS.values() for column in columns} - {"prompt"}


def derive(rows: list[Row], kind: Kind, needs: Kind, source: str) -> tuple[list[Row], list[str]]:
    """Return rows of the kind `needs`, and notes that say how they were made.

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


def drop_answers(rows: list[Row]) -> list[Row]:
    """Return the rows without their answers."""
    return [{name: row[name] for name in row if name not in _ANSWERS} for row in rows]


def _chosen_as_completions(rows: list[Row]) -> list[Row]:
    return [_with_completion(row, row["chosen"]) for row in rows]


def _completions_labelled_true(rows: list[Row]) -> list[Row]:
    return [_with_completion(row, row["completion"]) for row in rows if row["label"]]


def _both_with_labels(rows: list[Row]) -> list[Row]:
    return [
        _with_completion(row, row[answer], label=answer == "chosen")
        for row in rows
        for answer in ("chosen", "rejected")
    ]


def _with_completion(row: Row, completion: object, **label: bool) -> Row:
    return {**drop_answers([row])[0], "completion": completion, **label}


_DERIVATIONS: dict[tuple[Kind, Kind], Callable[[list[Row]], list[Row]]] = {
    ("pairs", "prompts"): drop_answers,
    ("demonstrations", "prompts"): drop_answers,
    ("unpaired", "prompts"): drop_answers,
    ("pairs", "demonstrations"): _chosen_as_completions,
    ("unpaired", "demonstrations"): _completions_labelled_true,
    ("pairs", "unpaired"): _both_with_labels,
}
