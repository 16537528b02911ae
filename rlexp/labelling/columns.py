"""Which columns of an export hold the prompt, the answers, the verdict and the annotator.

What the config names always wins. Other columns are taken by usual names, which is said; a name
that stands in several places of a record is no guess any more, and has to be told.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from rlexp.data.parsing.values import Row
from rlexp.labelling.paths import EACH, exists_in, record_paths
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.labelling import FeedbackColumns, Shape

NEEDED: Mapping[Shape, tuple[str, ...]] = {
    "pairs": ("a", "b", "winner"),
    "ratings": ("answer", "score"),
}
OWN: Mapping[Shape, tuple[str, ...]] = {
    "pairs": (*NEEDED["pairs"], "name_a", "name_b"),
    "ratings": NEEDED["ratings"],
}
"""Columns that only such judgements have."""
MEANINGS = {
    "a": "the answer that was shown first",
    "b": "the answer that was shown second",
    "winner": "which answer is better",
    "answer": "the answer that was judged",
    "score": "how good the answer is",
}
USUAL: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction", "query", "input", "context", "history"),
    "winner": (
        *("winner", "preference", "preferred", "comparison", "choice", "better", "verdict"),
        *(
            "overall_preference",
            "judgement",
            "judgment",
            "vote",
            "selected",
            "pw",
            "label",
            "labels",
            "value",
        ),
        "responses",
    ),
    "answer": ("answer", "response", "completion", "output", "generation", "reply", "text"),
    "score": (
        *("score", "overall_score", "rating", "stars", "grade", "points", "likert", "label"),
        *("value", "choices", "responses"),
    ),
    "annotator": (
        *("annotator", "annotator_id", "_annotator_id", "annotated_by", "completed_by", "user_id"),
        *("user", "users", "worker_id", "worker", "rater_id", "rater", "labeler", "labeller"),
        *("evaluator", "judge", "participant", "_session_id"),
    ),
    "status": ("status",),
}
"""What such columns are often called; the first that is there is meant."""
USUAL_PAIRS: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("a", "b"): (
        *(("a", "b"), ("left", "right"), ("first", "second"), ("human_ref_a", "human_ref_b")),
        *(
            (f"{word}{joint}{one}", f"{word}{joint}{other}")
            for word in (
                *("answer", "response", "completion", "output", "generation", "reply", "text"),
                *("option", "conversation", "candidate", "summary"),
            )
            for one, other in (("a", "b"), ("1", "2"))
            for joint in ("_", "")
        ),
    ),
    ("name_a", "name_b"): (("model_a", "model_b"), ("name_a", "name_b"), ("model_1", "model_2")),
}
FORMS: tuple[tuple[tuple[str, ...], Mapping[str, str]], ...] = (
    (
        (
            "text",
            "options[].text",
            "accept[]",
        ),  # Prodigy's choice; its `answer` says whether it counts
        {
            "prompt": "text",
            "a": "options[0].text",
            "b": "options[1].text",
            "winner": "accept[0]",
            "name_a": "options[0].id",
            "name_b": "options[1].id",
            "status": "answer",
        },
    ),
    (("_task_hash", "answer"), {"score": "answer"}),  # Prodigy's accept and reject
    (("annotations[].completed_by.id",), {"annotator": "annotations[].completed_by"}),
)
"""Exports in which usual names mean something else: paths that tell them, and what they hold."""


@dataclass(frozen=True)
class FeedbackLayout:
    """Where the records of an export keep what."""

    shape: Shape
    paths: dict[str, str]
    """Column of `FeedbackColumns` -> path."""
    guessed: dict[str, str]
    """Those of `paths` that the config does not name."""

    @property
    def note(self) -> str | None:
        """What was taken by its name, in words."""
        if not self.guessed:
            return None
        taken = ", ".join(f"{column}={path}" for column, path in self.guessed.items())
        return f"columns taken by their names: {taken}; columns.NAME=… takes another"


def find_feedback_columns(
    sample: Sequence[Row], columns: FeedbackColumns, shape: Shape | None, place: str
) -> FeedbackLayout:
    """Return where the records of an export keep what.

    Args:
        sample: its first records.
        columns: what the config says.
        shape: the same of what a judgement is of.
        place: of the export, for what is said of a mistake.

    Raises:
        UserError: a column that the config names is not there, or one that is needed was not found.
    """
    present = list(dict.fromkeys(path for record in sample for path in record_paths(record)))
    named = {column: path for column, path in columns if path is not None}
    problems = [
        absent_column(f"columns.{column}", path, present, place)
        for column, path in named.items()
        if not any(exists_in(path, record) for record in sample)
    ]
    shapes: list[Shape] = [shape] if shape else _shapes_of(named)
    problems += [
        Problem(f"columns.{column}", named[column], f"no such column of {shapes[0]}")
        for own, foreign in OWN.items()
        for column in foreign
        if column in named and own not in shapes
    ]
    if problems:
        raise UserError(problems)
    guesses: dict[Shape, dict[str, str]] = {
        own: {**_guessed(present, named, own), **named} for own in shapes
    }
    for own, paths in guesses.items():
        if set(NEEDED[own]) <= set(paths):
            guessed = {column: path for column, path in paths.items() if column not in named}
            return FeedbackLayout(own, paths, guessed)
    best = max(guesses, key=lambda own: len(set(NEEDED[own]) & set(guesses[own])))
    raise UserError(
        _unknown(column, present, place, best)
        for column in NEEDED[best]
        if column not in guesses[best]
    )


def _shapes_of(named: Iterable[str]) -> list[Shape]:
    told: list[Shape] = [shape for shape in NEEDED if set(OWN[shape]) & set(named)]
    return told[:1] or ["pairs", "ratings"]


def _guessed(present: list[str], named: Mapping[str, str], shape: Shape) -> dict[str, str]:
    """Return column -> path, for columns that usual names tell."""
    guessed: dict[str, str] = {}
    for telling, paths in FORMS:
        if set(telling) <= set(present) and not set(paths) & set(OWN[_other(shape)]):
            guessed |= {column: path for column, path in paths.items() if column not in named}
    by_leaf: dict[str, list[str]] = {}
    for path in present:
        if path not in (*named.values(), *guessed.values()):
            by_leaf.setdefault(_leaf(path), []).append(path)
    if shape == "pairs":
        for (one, other), usual in USUAL_PAIRS.items():
            found = [names for names in usual if all(len(by_leaf.get(n, ())) == 1 for n in names)]
            if found and not {one, other} & {*named, *guessed}:
                guessed[one], guessed[other] = (by_leaf[name][0] for name in found[0])
    wanted = ("winner",) if shape == "pairs" else ("score", "answer")
    for column in (*wanted, "prompt", "annotator", "status"):
        if column in named or column in guessed:
            continue
        verdict = {**guessed, **named}.get(wanted[0], "")
        taken = {*guessed.values()}
        for name in USUAL[column]:
            paths = [path for path in by_leaf.get(name, []) if path not in taken]
            beside = [path for path in paths if _list_of(path) == _list_of(verdict)]
            if len(beside or paths) == 1:
                guessed[column] = (beside or paths)[0]
                break
    return guessed


def _leaf(path: str) -> str:
    """Return the last name on a path as `USUAL` spells it."""
    last = re.sub(r"\[\d*\]", "", path).rpartition(".")[2]
    return re.sub(r"[\s-]+", "_", last.strip()).casefold()


def _list_of(path: str) -> str:
    return path.partition(EACH)[0] if EACH in path else ""


def absent_column(key: str, path: str, present: Sequence[str], place: str) -> Problem:
    """Return the problem of a column that is named and not there, with the nearest one."""
    near = get_close_matches(path, present, n=1)
    remedy = f"Did you mean {shlex.quote(f'{key}={near[0]}')}?" if near else ""
    return Problem(key, f"{path!r}, no column of {place}", f"one of {', '.join(present)}", remedy)


def _unknown(column: str, present: list[str], place: str, shape: Shape) -> Problem:
    several = [path for path in present if _leaf(path) in USUAL.get(column, ())]
    remedy = "Say which, e.g. " + " or ".join(f"columns.{column}={path}" for path in several)
    if not several:
        remedy = f"Set columns.{column}=NAME; shape={_other(shape)} reads the other kind."
    want = f"a column for {MEANINGS[column]}"
    return Problem(f"columns.{column}", f"nothing; {place} has {', '.join(present)}", want, remedy)


def _other(shape: Shape) -> Shape:
    return "ratings" if shape == "pairs" else "pairs"
