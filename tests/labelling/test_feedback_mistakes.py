"""What cannot be right in an export, with file, line and what mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feedback import import_spec
from feedback_exports import write_csv, write_jsonl

from rlexp.data.parsing.mistakes import RecordError
from rlexp.labelling.paths import expanded
from rlexp.labelling.reading import read_feedback
from rlexp.labelling.words import label_problems, score_of, winner_of
from rlexp.spec.errors import UserError

GOOD = {"prompt": "p", "a": "x", "b": "y", "winner": "a", "annotator": "anna"}


def refused(path: Path, rows: list[dict[str, Any]], *words: str) -> str:
    with pytest.raises(UserError) as caught:
        read_feedback([str(write_jsonl(path, rows))], import_spec(*words))
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("change", "words", "parts"),
    [
        (
            {"winner": "Links!"},
            [],
            ["x.jsonl:2: got the winner 'Links!', a str", "'labels.Links!=a' (or b, tie or skip)"],
        ),
        ({"winner": 0}, [], ["the winner 0, a int", "labels.0=a"]),
        ({"a": " "}, [], ["x.jsonl:2: got an empty 'a'", "on_error=skip leaves such lines out"]),
        ({"b": " x\n"}, [], ["x.jsonl:2: got two answers that are equal"]),
        ({"prompt": None}, [], ["x.jsonl:2: got null as 'prompt'"]),
        ({"winner": "x2"}, ["labels.x2=c"], ["labels.x2: got 'c'", "wants a, b, tie, skip"]),
        ({}, ["columns.winner=winer"], ["columns.winner: got 'winer'", "columns.winner=winner?"]),
        ({}, ["columns.score=winner", "shape=pairs"], ["columns.score: got winner"]),
        ({}, ["shape=ratings"], ["columns.answer: got nothing; x.jsonl has prompt", "shape=pairs"]),
        ({}, ["extra=[topic]"], ["extra: got 'topic', no column of"]),
    ],
)
def test_is_refused_with_what_mends_it(
    change: dict[str, Any], words: list[str], parts: list[str], tmp_path: Path
) -> None:
    """A row that is guessed at; a message that leaves the user to search the file."""
    text = refused(tmp_path / "x.jsonl", [GOOD, {**GOOD, **change}], *words)
    for part in parts:
        assert part in text


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """A file that has to be imported once for each of its mistakes."""
    rows = [{**GOOD, "winner": "?"}, {**GOOD, "a": ""}, GOOD, {**GOOD, "b": "x"}]
    text = refused(tmp_path / "x.jsonl", rows, "labels.z=9")
    assert [line.partition(": got")[0] for line in text.splitlines() if ": got" in line] == [
        *("labels.z", "x.jsonl:1", "x.jsonl:2", "x.jsonl:4")
    ]


def test_lines_may_be_left_out_and_counted(tmp_path: Path) -> None:
    """One empty cell of fifty thousand that ends an import; an unknown word that goes unnoticed."""
    path = tmp_path / "x.jsonl"
    rows = [GOOD, {**GOOD, "a": ""}, {**GOOD, "b": "x"}]
    feedback = read_feedback([str(write_jsonl(path, rows))], import_spec("on_error=skip"))
    assert len(feedback.judgements) == 1
    assert feedback.left_out == {
        "an empty 'a' (on_error=skip)": 1,
        "two answers that are equal (on_error=skip)": 1,
    }
    assert "the winner '?'" in refused(path, [{**GOOD, "winner": "?"}], "on_error=skip")


def test_every_file_has_the_columns(tmp_path: Path) -> None:
    """A second person's verdicts under another name, all of them taken for blanks."""
    other = {**GOOD, "choice": "b"}
    del other["winner"]
    files = [
        write_jsonl(tmp_path / "anna.jsonl", [GOOD]),
        write_jsonl(tmp_path / "b.jsonl", [other]),
    ]
    with pytest.raises(UserError) as caught:
        read_feedback([str(file) for file in files], import_spec())
    (problem,) = caught.value.problems
    assert problem.key == "columns.winner" and "no column of" in problem.got
    assert "b.jsonl" in problem.got and "choice" in problem.want


def test_a_name_in_several_places_is_no_guess(tmp_path: Path) -> None:
    """The first of two questions taken for the one that matters."""
    vote = {"value": "a", "user_id": "u"}
    record = {"prompt": "p", "a": "x", "b": "y", "responses": {"style": [vote], "truth": [vote]}}
    text = refused(tmp_path / "x.jsonl", [record])
    assert "columns.winner=responses.style[].value or columns.winner=responses.truth" in text


def test_a_spreadsheet_without_known_names(tmp_path: Path) -> None:
    """A complaint about Frage that does not say what to type."""
    path = write_csv(tmp_path / "x.csv", [{"Frage": "p", "L": "x", "R": "y", "Wahl": "L"}])
    with pytest.raises(UserError) as caught:
        read_feedback([str(path)], import_spec())
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["columns.a", "columns.b", "columns.winner"]
    assert "has Frage, L, R, Wahl" in str(caught.value)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *(("A", "a"), ("Left", "a"), (1, "a"), ("1.0", "a"), ("model_a", "a"), ("Response 1", "a")),
        *(("B", "b"), ("right", "b"), (2.0, "b"), ("answer2", "b"), ("option-b", "b")),
        *(("tie", "tie"), ("Tie (bothbad)", "tie"), ("BOTH", "tie"), (["a"], "a"), ("N/A", "skip")),
        *(("gpt-4", "a"), ("Own", "b"), ("the second answer", "b"), ("links", "b")),
    ],
)
def test_words_for_the_winner(word: object, meaning: str) -> None:
    """A word of one tool that means nothing here, or the other side."""
    names, texts = ("GPT-4", "own"), ("the first answer", "The second answer")
    assert winner_of(word, {"links": "b"}, names, texts) == meaning


def test_a_name_of_both_answers_says_nothing() -> None:
    """A model that played against itself wins for the first side, always."""
    with pytest.raises(RecordError, match="both answers"):
        winner_of("koala", {}, ("koala", "koala"), ("x", "y"))
    with pytest.raises(RecordError, match="the winner 'none'"):
        winner_of("none", {}, (None, None), ("", ""))


def test_words_for_a_score() -> None:
    """A yes that is no number; half a star that is one; infinity."""
    words = [4, "4.5", "accept", "👎", True, "False", "skip", "gut"]
    scores = [score_of(word, {"gut": "3"}) for word in words]
    assert scores == [4.0, 4.5, 1.0, 0.0, 1.0, 0.0, None, 3.0]
    for word in ("inf", "nan!", "very good"):
        with pytest.raises(RecordError, match="the score"):
            score_of(word, {})
    assert [p.key for p in label_problems({"gut": "3", "naja": "soso"}, "ratings")] == [
        "labels.naja"
    ]


def test_paths_go_through_names_with_dots_and_lists() -> None:
    """A column whose name holds a dot that cannot be reached; lists that are paired at random."""
    record = {
        "vote.responses": ["a", "b"],
        "vote.responses.users": ["u", "v"],
        "fields": {"prompt": "p", "x.y": 3},
        "options": [{"text": "A"}, {"text": "B"}],
    }
    paths = {
        "winner": "vote.responses[]",
        "annotator": "vote.responses.users[]",
        "prompt": "fields.prompt",
        "b": "options[1].text",
        "name_b": "options[2].text",
        "status": "fields.x.y",
    }
    first, second = expanded(record, paths)
    assert first == {
        "winner": "a",
        "annotator": "u",
        "prompt": "p",
        "b": "B",
        "name_b": None,
        "status": 3,
    }
    assert (second["winner"], second["annotator"], second["prompt"]) == ("b", "v", "p")
    with pytest.raises(RecordError, match="2 in vote"):
        list(expanded({**record, "vote.responses.users": ["u"]}, paths))
