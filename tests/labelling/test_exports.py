"""Exports of tools that people judge answers with, read as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import feedback_exports as exports
import pytest
from feedback import import_spec

from rlexp.labelling.reading import Feedback, read_feedback


def read(make: Callable[[Path], Path], path: Path, *words: str) -> Feedback:
    return read_feedback([str(make(path))], import_spec(*words))


@pytest.mark.parametrize(
    ("make", "file", "words", "shape", "values", "people"),
    [
        (exports.label_studio_csv, "x.csv", [], "pairs", {1: 7, -1: 5}, {"1": 6, "2": 6}),
        (
            *(exports.label_studio_json, "x.json", [], "pairs", {1: 6, -1: 5}),
            {"p1@example.org": 6, "p2@example.org": 5},
        ),
        (exports.argilla, "x.json", [], "pairs", {1: 6, -1: 3}, {"u-1": 5, "u-2": 4}),
        (exports.prodigy_choice, "x.jsonl", [], "pairs", {1: 2, -1: 3}, {"anna": 5}),
        (exports.prodigy_binary, "x.jsonl", [], "ratings", {1: 3, 0: 2}, {"anna": 5}),
        (exports.scored_completions, "x.jsonl", [], "ratings", {1: 6, 2: 6, 3: 6}, {None: 18}),
        (
            *(exports.arena, "x.jsonl", [], "pairs", {1: 2, -1: 1, 0: 2}),
            {f"arena_user_{number}": 1 for number in range(5)},
        ),
        (exports.german_sheet, "x.csv", exports.GERMAN, "pairs", {1: 2, -1: 2, 0: 1}, {"Jörg": 5}),
        (exports.chinese_sheet, "x.csv", exports.CHINESE, "pairs", {1: 3, -1: 3}, {None: 6}),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_is_read_as_it_is_exported(
    make: Callable[[Path], Path],
    file: str,
    words: list[str],
    shape: str,
    values: dict[float, int],
    people: dict[str | None, int],
    tmp_path: Path,
) -> None:
    """A side mistaken for the other; drafts, skipped and empty verdicts that count; a lost name."""
    feedback = read(make, tmp_path / file, *words)
    assert feedback.layout.shape == shape
    assert Counter(judgement.value for judgement in feedback.judgements) == values
    assert Counter(judgement.annotator for judgement in feedback.judgements) == people
    assert {
        judgement.prompt for judgement in feedback.judgements if isinstance(judgement.prompt, str)
    } <= set(exports.PROMPTS)


def test_the_texts_are_those_of_their_columns(tmp_path: Path) -> None:
    """Answers exchanged, or cut out of the wrong place of a nested record."""
    feedback = read(exports.argilla, tmp_path / "x.json")
    assert feedback.judgements[0].answers == ("A0", "B0")
    feedback = read(exports.prodigy_choice, tmp_path / "x.jsonl")
    assert (feedback.judgements[1].answers, feedback.judgements[1].value) == (("A1", "B1"), -1)


def test_conversations_share_their_prompt(tmp_path: Path) -> None:
    """The question trained on as a part of the answers; a reply to another question compared."""
    feedback = read(exports.arena, tmp_path / "x.jsonl")
    first = feedback.judgements[0]
    assert first.prompt == exports.turns(exports.PROMPTS[0])
    assert first.answers[1] == [{"role": "assistant", "content": "B0"}]
    assert feedback.left_out == {"the conversations do not answer the same prompt": 1}


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    """A wrong guess that nobody can notice."""
    feedback = read(exports.label_studio_csv, tmp_path / "x.csv")
    assert feedback.layout.note == (
        "columns taken by their names: a=answer1, b=answer2, winner=comparison, prompt=prompt, "
        "annotator=annotator; columns.NAME=… takes another"
    )
    assert feedback.words == {"a": {"'left'": 7}, "b": {"'right'": 5}}
    feedback = read(exports.chinese_sheet, tmp_path / "y.csv", *exports.CHINESE)
    assert feedback.layout.note is None


def test_drafts_and_blanks_are_counted(tmp_path: Path) -> None:
    """Judgements that vanish without a word."""
    assert read(exports.argilla, tmp_path / "x.json").left_out == {"the status is draft": 1}
    words = exports.GERMAN
    assert read(exports.german_sheet, tmp_path / "x.csv", *words).left_out == {
        "nobody has judged them": 1
    }
    assert read(exports.prodigy_binary, tmp_path / "x.jsonl").left_out == {"a verdict says skip": 1}
    without = read(exports.label_studio_csv, tmp_path / "y.csv", "without=[2]")
    assert without.left_out == {"2 is left out (without)": 6}
    assert {judgement.annotator for judgement in without.judgements} == {"1"}
