"""Rows that judgements become, and what becomes none."""

from __future__ import annotations

from typing import Any

import pytest
from feedback import collected, import_spec, pair, rating

from rlexp.labelling.reading import Judgement
from rlexp.labelling.rows import FeedbackRows, rows_of
from rlexp.spec.errors import UserError


def made(judgements: list[Judgement], *words: str) -> FeedbackRows:
    shape = "pairs" if len(judgements[0].answers) == 2 else "ratings"
    return rows_of(collected(*judgements).items, shape, import_spec(*words))


def short(rows: FeedbackRows) -> list[tuple[Any, ...]]:
    return [(row["chosen"], row["rejected"], row["votes"], row["agreement"]) for row in rows.rows]


@pytest.mark.parametrize(
    ("verdicts", "words", "rows", "left_out"),
    [
        ("a b", [], [], {"no side has most votes": 1}),
        ("a a b", [], [("x", "yy", 3, 0.667)], {}),
        ("a tie tie", [], [], {"tie": 1}),
        ("b b a tie", [], [("yy", "x", 4, 0.5)], {}),
        ("a tie", ["ties=both"], [("x", "yy", 2, 0.5), ("yy", "x", 2, 0.5)], {}),
        ("a a b", ["min_agreement=0.7"], [], {"under 0.7 of the votes agree (min_agreement)": 1}),
        ("a a", ["min_votes=3"], [], {"fewer than 3 votes (min_votes)": 1}),
        ("a b tie", ["votes=each"], [("x", "yy", 3, 0.333), ("yy", "x", 3, 0.333)], {"tie": 1}),
    ],
)
def test_votes_on_a_pair(
    verdicts: str, words: list[str], rows: list[tuple[Any, ...]], left_out: dict[str, int]
) -> None:
    """A tie that becomes a preference; a minority that wins; a row that vanishes uncounted."""
    judgements = [pair(f"p{n}:{verdict}") for n, verdict in enumerate(verdicts.split())]
    result = made(judgements, *words)
    assert short(result) == rows
    assert result.left_out == left_out


def test_nothing_is_left_of_contradictions() -> None:
    """An item of one person who said both ways, trained on all the same."""
    assert made([pair("p:a"), pair("p:b")]).left_out == {"nothing but contradictions": 1}


RATINGS = [
    *(rating("anna:5", answer="good"), rating("ben:3", answer="good")),
    *(rating("anna:4", answer="fair"), rating("ben:2", answer="fair")),
    *(rating("anna:1", answer="bad"), rating("ben:2", answer="bad")),
]


def test_scores_become_pairs_by_their_mean() -> None:
    """Means over the wrong people; a margin that lets ties through."""
    pairs = [(row["chosen"], row["rejected"], row["margin"]) for row in made(RATINGS).rows]
    assert pairs == [("good", "fair", 1.0), ("good", "bad", 2.5), ("fair", "bad", 1.5)]
    wide = made(RATINGS, "margin=1")
    assert [row["margin"] for row in wide.rows] == [2.5, 1.5]
    assert wide.left_out == {"tie: scores that differ by no more than margin": 1}


def test_scores_of_one_person_are_compared_with_that_persons() -> None:
    """A strict annotator's best answer put below a mild one's worst."""
    each = made(RATINGS, "votes=each")
    assert [(row["chosen"], row["rejected"]) for row in each.rows] == [
        *(("good", "fair"), ("good", "bad"), ("fair", "bad"), ("good", "fair"), ("good", "bad"))
    ]
    assert sum(each.left_out.values()) == 1


def test_scores_become_completions_or_labels() -> None:
    """A form that `data=file` does not read; a threshold on the wrong side."""
    (row,) = made(RATINGS, "rows=completions").rows
    assert [(answer["text"], answer["score"]) for answer in row["completions"]] == [
        *(("good", 4.0), ("fair", 3.0), ("bad", 1.5))
    ]
    labelled = made(RATINGS, "rows=labelled", "threshold=3").rows
    assert [(row["completion"], row["label"]) for row in labelled] == [
        *(("good", True), ("fair", True), ("bad", False))
    ]


def test_yes_and_no_become_labels() -> None:
    """As many yes as no, which becomes a yes; a whole text without a prompt."""
    votes = [
        *(rating("anna:1", None, "one"), rating("ben:1", None, "one")),
        *(rating("anna:1", None, "two"), rating("ben:0", None, "two"), rating("ben:0", None, "3")),
    ]
    result = made(votes)
    assert [(row["text"], row["label"]) for row in result.rows] == [("one", True), ("3", False)]
    assert result.left_out == {"as many yes as no": 1}


@pytest.mark.parametrize(
    ("judgements", "words", "parts"),
    [
        (
            [pair("p:a")],
            ["rows=labelled", "threshold=1"],
            ["rows: got labelled", "threshold: got 1"],
        ),
        (RATINGS, ["min_agreement=0.5"], ["min_agreement: got 0.5"]),
        (RATINGS, ["rows=labelled"], ["Scores go from 1 to 5: threshold=3 takes the middle"]),
        (RATINGS[:2], [], ["threshold: got null"]),
        (RATINGS[:2], ["rows=pairs"], ["rows: got pairs", "rows=labelled threshold=SCORE"]),
        (
            [rating(":5"), rating(":3", answer="y")],
            ["votes=each"],
            ["2 verdicts without an annota"],
        ),
    ],
)
def test_is_refused(judgements: list[Judgement], words: list[str], parts: list[str]) -> None:
    """Options that would do nothing, or rows that such judgements cannot become."""
    with pytest.raises(UserError) as caught:
        made(judgements, *words)
    for part in parts:
        assert part in str(caught.value)
