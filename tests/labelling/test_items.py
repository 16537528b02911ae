"""Judgements gathered by item: order, repetition, contradiction, circles."""

from __future__ import annotations

from dataclasses import replace

from feedback import collected, pair, rating

from rlexp.labelling.items import by_annotator, preference_circles
from rlexp.labelling.reading import Judgement


def placed(*judgements: Judgement) -> list[Judgement]:
    return [replace(judgement, place=f"f:{n}") for n, judgement in enumerate(judgements, 1)]


def test_the_order_of_two_answers_makes_no_other_item() -> None:
    """Two people who saw the answers in different orders and are never compared."""
    gathered = collected(pair("anna:a"), pair("ben:b", a="yy", b="x"), pair("cleo:a", a=" yy "))
    (item,) = [item for item in gathered.items if item.answers == ("x", "yy")]
    assert [(vote.value, vote.as_shown) for vote in item.votes] == [(1, 1), (1, -1)]
    assert len(gathered.items) == 2


def test_one_who_says_the_same_twice_counts_once() -> None:
    """A majority made by one person who was asked three times."""
    said = placed(pair("anna:a"), pair("anna:b", a="yy", b="x"), pair("ben:b"), pair("anna:a"))
    gathered = collected(*said)
    assert [vote.annotator for vote in gathered.items[0].votes] == ["anna", "ben"]
    assert gathered.repeated == ["f:2", "f:4"]
    unknown = collected(*placed(pair(":a"), pair(":a")))
    assert len(unknown.items[0].votes) == 2 and not unknown.repeated


def test_one_who_says_both_counts_not_at_all_or_last() -> None:
    """The first verdict of somebody who corrected it; a coin thrown between two."""
    said = placed(pair("anna:a"), pair("ben:a"), pair("anna:b"))
    gathered = collected(*said)
    assert [vote.annotator for vote in gathered.items[0].votes] == ["ben"]
    (contradiction,) = gathered.contradictions
    assert (contradiction.annotator, contradiction.places) == ("anna", ("f:1", "f:3"))
    last = collected(*said, keep_last=True)
    assert [(vote.annotator, vote.value) for vote in last.items[0].votes] == [
        *(("ben", 1), ("anna", -1))
    ]
    assert collected(rating("anna:3"), rating("anna:4")).contradictions


def test_circles_are_found_and_placed() -> None:
    """A > B > C > A that no reward can follow; one made of two people who are each consistent."""
    said = placed(
        pair("anna:a", a="A", b="B"),
        pair("anna:b", a="C", b="B"),
        pair("ben:a", a="C", b="A"),
        pair("anna:a", a="A", b="C", prompt="q"),
        pair("anna:tie", a="C", b="A", prompt="q"),
    )
    gathered = collected(*said)
    (circle,) = preference_circles(gathered.items)
    assert sorted(circle) == ["f:1", "f:2", "f:3"]
    assert preference_circles(by_annotator(gathered.items)["anna"]) == []
    undone = collected(*said, *placed(pair("cleo:b", a="C", b="A"), pair("dan:tie", a="C", b="A")))
    assert preference_circles(undone.items) == []
