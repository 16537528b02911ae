"""What people's words for a verdict mean: which of two answers won, or how good one is."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping

from rlexp.data.parsing.mistakes import RecordError, shown
from rlexp.spec.errors import Problem
from rlexp.spec.labelling import Shape

SKIP = "skip"
WINNER_MEANINGS = ("a", "b", "tie", SKIP)
SIDES: Mapping[str, float] = {"a": 1.0, "tie": 0.0, "b": -1.0}
"""Verdicts on a pair as numbers, so that they are ordered as well."""

_SIDE = re.compile(
    r"(?:(?:answer|assistant|candidate|completion|conversation|generation|model|option|output|reply"
    r"|response|text)[_ -]*)?(?:(a|1|left|first|one)|(b|2|right|second|two))"
)
_TIES = {
    *("tie", "tied", "draw", "equal", "same", "both", "neither", "no preference", "indifferent"),
    *("both good", "both bad", "bothgood", "bothbad", "tie (bothbad)", "tie (both bad)"),
}
_SKIPS = {"skip", "skipped", "ignore", "ignored", "n/a", "na", "nan"}
_GOOD = {"accept", "accepted", "good", "yes", "true", "up", "thumbs up", "like", "correct", "👍"}
_BAD = {"reject", "rejected", "bad", "no", "false", "down", "thumbs down", "dislike", "wrong", "👎"}
_SCORES = {**dict.fromkeys(_GOOD, 1.0), **dict.fromkeys(_BAD, 0.0)}
UNFINISHED = {"draft", "discarded", "pending", "cancelled", "reject", "rejected", *_SKIPS}
"""Values of a status whose judgements do not count."""


def spelling(value: object) -> str:
    """Return a word as the tables here spell it: 1.0, "1" and true have one spelling each."""
    spelled = " ".join(str(value).replace("_", " ").split()).casefold()
    try:
        number = float(spelled)
    except ValueError:
        return spelled
    return str(int(number)) if number.is_integer() else spelled


def is_blank(value: object) -> bool:
    """Return whether nobody has filled a value in."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value == [] or value != value  # the last is pandas' missing number


def winner_of(
    value: object, labels: Mapping[str, str], names: tuple[object, object], texts: tuple[str, str]
) -> str:
    """Return a, b, tie or skip.

    Args:
        value: as the file has it.
        labels: what the config says of values, by their `spelling`.
        names: what the record calls its two answers; null where it doesn't.
        texts: the answers themselves, which a value may repeat.

    Raises:
        RecordError: nobody has said what it means, or it means both.
    """
    (value,) = value if isinstance(value, list) and len(value) == 1 else [value]
    spelled = spelling(value)
    if spelled in labels:
        return labels[spelled]
    for sides in (names, texts):
        matching = [
            side
            for side, name in zip(("a", "b"), sides, strict=True)
            if not is_blank(name) and spelled == spelling(name)
        ]
        if len(matching) == 2:
            raise RecordError(
                f"the winner {shown(value)}, which is what both answers are called",
                "names that tell them apart",
                _remedy(value, "winner", "a", "b, tie or skip"),
            )
        if matching:
            return matching[0]
    if match := _SIDE.fullmatch(spelled):
        return "a" if match[1] else "b"
    if spelled in _TIES | _SKIPS:
        return "tie" if spelled in _TIES else SKIP
    want = "a, b, left, right, 1, 2, tie, skip, or what columns.name_a and columns.name_b hold"
    raise RecordError(
        f"the winner {shown(value)}", want, _remedy(value, "winner", "a", "b, tie or skip")
    )


def score_of(value: object, labels: Mapping[str, str]) -> float | None:
    """Return a score; None for one that is to be skipped.

    Args:
        value: as the file has it.
        labels: what the config says of values, by their `spelling`.

    Raises:
        RecordError: it is no number, and nobody has said what it means.
    """
    (value,) = value if isinstance(value, list) and len(value) == 1 else [value]
    spelled = spelling(value)
    meaning = labels.get(spelled, spelled)
    if meaning in _SKIPS:
        return None
    if meaning in _SCORES:
        return _SCORES[meaning]
    try:
        score = float(meaning)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        want = "a number, accept, reject, good, bad, yes, no"
        raise RecordError(
            f"the score {shown(value)}",
            want,
            _remedy(value, "score", "0", "another number, or skip"),
        )
    return score


def label_problems(labels: Mapping[str, str], shape: Shape) -> list[Problem]:
    """Return the meanings that are none."""
    problems = []
    for word, meaning in labels.items():
        try:
            known = (
                meaning in WINNER_MEANINGS if shape == "pairs" else score_of(meaning, {}) or True
            )
        except RecordError:
            known = False
        if not known:
            want = ", ".join(WINNER_MEANINGS) if shape == "pairs" else "a number, or skip"
            problems.append(Problem(f"labels.{word}", repr(meaning), want))
    return problems


def _remedy(value: object, column: str, meaning: str, others: str) -> str:
    """Return the words that give a value a meaning, as they are typed."""
    if isinstance(value, list | dict):
        return f"Name the place inside: columns.{column}=NAME[].value, NAME[0], NAME.value …"
    return f"Say what it means: {shlex.quote(f'labels.{value}={meaning}')} (or {others})."
