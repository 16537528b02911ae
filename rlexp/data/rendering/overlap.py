"""Rows that repeat others, and held-out rows that a training has seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rlexp.data.derived.split import canonical_json, prompt_text
from rlexp.data.load import Splits
from rlexp.data.parsing.conversations import plain_text
from rlexp.data.parsing.records import Row

ANSWERS = ("completion", "chosen", "rejected")
_NO_WORD = re.compile(r"[\W_]+")


def duplicate_notes(rows: Sequence[Row], splits: Splits) -> list[str]:
    """Return how many training rows repeat earlier ones, in words.

    Args:
        rows: of the training.
        splits: knows where they stand.
    """
    whole = [
        canonical_json([row.get(name) for name in ("prompt", *ANSWERS, "label")]) for row in rows
    ]
    prompts = [prompt_text(row) for row in rows]
    answered = any(name in row for row in rows[:1] for name in ANSWERS)
    notes = []
    if repeats := list(_repeats(whole)):
        what = "rows that repeat" if answered else "prompts that repeat"
        notes.append(f"{what} an earlier one: {len(repeats)}{_first(rows[repeats[0]], splits)}")
    again = [number for number in _repeats(prompts) if number not in set(repeats)]
    if again and answered:
        what = "rows with an earlier row's prompt and another answer"
        notes.append(f"{what}: {len(again)}{_first(rows[again[0]], splits)}")
    most, count = Counter(map(_words, prompts)).most_common(1)[0] if prompts else ("", 0)
    if count > max(2, len(rows) // 20):
        notes.append(f"the most frequent prompt is in {count} of {len(rows)} rows: {most[:60]!r}")
    return notes


def leak_notes(splits: Splits) -> list[str]:
    """Return how many held-out rows a training has seen, in words.

    Prompts are compared as they are, white space apart, and by their words alone; answers by their
    words.
    """
    heldout = splits.heldout
    trained = {prompt_text(row) for row in splits.train}
    by_words = {_words(text) for text in trained}
    asked = [(row, prompt_text(row)) for row in heldout]
    exact = [row for row, text in asked if text in trained]
    near = [row for row, text in asked if text not in trained and _words(text) in by_words]
    answers = set(_answers(splits.train))
    answered = splits.heldout_pairs or splits.heldout_labelled or splits.heldout_demonstrations
    same_answer = [row for row in answered if answers.intersection(_answers([row]))]
    notes = []
    for rows, what in (
        (exact, "prompts that are trained on"),
        (near, "prompts that are trained on, but for case and punctuation"),
        (same_answer, "rows with an answer that is trained on"),
    ):
        if rows:
            first = _first(rows[0], splits)
            notes.append(f"held-out {what}: {len(rows)} of {len(heldout)}{first}")
    return notes


def balance_notes(rows: Sequence[Row]) -> list[str]:
    """Return how labels are shared out, in words; none of rows without labels."""
    labels = Counter(row["label"] for row in rows if "label" in row)
    if not labels:
        return []
    total = sum(labels.values())
    return [f"labels: {labels[True]} true, {labels[False]} false ({labels[True] / total:.0%} true)"]


def length_bias_note(chosen: Sequence[int], rejected: Sequence[int]) -> str | None:
    """Return how chosen and rejected answers differ in length, in words; None without pairs.

    Args:
        chosen: tokens of each chosen answer.
        rejected: of the rejected one of the same pair.
    """
    if not chosen:
        return None
    longer = sum(good > bad for good, bad in zip(chosen, rejected, strict=True)) / len(chosen)
    means = (sum(lengths) / len(lengths) for lengths in (chosen, rejected))
    good, bad = means
    note = (
        f"chosen answers have {good:.1f} tokens, rejected ones {bad:.1f}; "
        f"the chosen one is longer in {longer:.0%} of pairs"
    )
    if longer >= LENGTH_TELLS or longer <= 1 - LENGTH_TELLS:
        note += ": length alone tells them apart, and is what may be learnt"
    return note


LENGTH_TELLS = 0.8
"""Share of pairs from which on length tells more than most reward models do."""


def _first(row: Row, splits: Splits) -> str:
    """Return where a first row stands, in words; nothing where that is not known."""
    place = splits.place_of(row)
    return "" if place == splits.source else f", the first at {place}"


def _repeats(keys: Iterable[object]) -> Iterator[int]:
    seen = set()
    for number, key in enumerate(keys):
        if key in seen:
            yield number
        seen.add(key)


def _words(text: str) -> str:
    return _NO_WORD.sub(" ", text.casefold()).strip()


def _answers(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield from (
            words for name in ANSWERS if name in row and (words := _words(plain_text(row[name])))
        )
