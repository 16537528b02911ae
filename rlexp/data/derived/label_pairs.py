"""Pairs from texts that are labelled one by one: one with the label true against one with false.

The two share no prompt. A model that learns to put the first above the second learns to tell the
labels, and its share of right pairs estimates the area under its ROC curve.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from rlexp.data.derived.merged import in_turn
from rlexp.data.parsing.values import Row
from rlexp.spec.data import SOURCE, source_key
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.text import Text


def label_pairs(
    rows: list[Row], seed: int, most: int | None, *, by_source: bool = False
) -> tuple[list[Row], str]:
    """Return pairs of rows with `completion` and `label`, and a note that says how many there are.

    Each pass goes through the rarer label once, and through as many texts of the other; no two
    passes are matched alike. The prompt of a pair is empty: whole texts are compared, or whole
    conversations.

    Args:
        rows: framed; those labelled true and those labelled false.
        seed: of the matching.
        most: pairs; None is one pass, in which no text comes twice.
        by_source: whether only texts of one source of a mix are matched, so many pairs of each: two
            sources may be told apart by what is no matter of quality. The pairs come in turn, with
            the name of their source.

    Raises:
        UserError: one of the labels is missing.
    """
    if by_source:
        return _pairs_of_each_source(rows, seed, most)
    good = [_full_text(row) for row in rows if row["label"]]
    bad = [_full_text(row) for row in rows if not row["label"]]
    counts = f"{len(good)} texts labelled true, {len(bad)} false"
    if not good or not bad:
        raise UserError(Problem("data", counts, "some of both, to match for algo.labels=data"))
    passes = _passes(good, bad, random.Random(seed))
    pairs = list(islice(passes, most or min(len(good), len(bad))))
    return pairs, f"{len(pairs)} pairs matched by label, of {counts}"


def _pairs_of_each_source(rows: list[Row], seed: int, most: int | None) -> tuple[list[Row], str]:
    made, notes = [], []
    for name in dict.fromkeys(row[SOURCE] for row in rows):
        of_source = [row for row in rows if row[SOURCE] == name]
        try:
            pairs, note = label_pairs(of_source, seed, most)
        except UserError as error:
            key = source_key(name)
            raise UserError(problem.under(key, "data") for problem in error.problems) from error
        made.append([{**pair, SOURCE: name} for pair in pairs])
        notes.append(f"{name}: {note}")
    return in_turn(made), "; ".join(notes)


def _passes(good: list[Text], bad: list[Text], rng: random.Random) -> Iterator[Row]:
    size = min(len(good), len(bad))
    while True:
        for chosen, rejected in zip(rng.sample(good, size), rng.sample(bad, size), strict=True):
            yield {"prompt": chosen[:0], "chosen": chosen, "rejected": rejected}


def _full_text(row: Row) -> Text:
    return row["prompt"] + row["completion"]
