"""Rhyme and metre, on poems of which the answer is known."""

from __future__ import annotations

from typing import Any

import pytest
from reward_specs import mistakes, reward

from rlexp.rewards.verse import rhyme

SONNET_18 = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee."""
HIAWATHA = """Should you ask me, whence these stories?
Whence these legends and traditions,
With the odors of the forest,
With the dew and damp of meadows"""
PROSE = """The committee met on Tuesday afternoon.
Nobody remembered to bring the documents.
Raining.
We left early because of the transport strike."""


def verse(**knobs: Any) -> Any:
    return reward("verse", **{"scheme": None, "feet": None, **knobs})


@pytest.mark.parametrize(
    ("first", "second", "rhymes"),
    [
        ("day", "may", True),
        ("though", "snow", True),
        ("tough", "though", False),
        ("station", "nation", True),
        ("sunshine", "moonshine", True),
        ("day", "day", False),
        ("read", "red", True),
        ("read", "reed", True),
        ("blorpy", "zorpy", True),
        ("orange", "table", False),
    ],
)
def test_rhyme(first: str, second: str, rhymes: bool) -> None:
    """Spelling taken for sound; a word that rhymes with itself; one pronunciation of several; a
    word that no dictionary has."""
    assert rhyme(first, second) is rhymes


class TestScheme:
    @pytest.mark.parametrize(
        ("scheme", "text", "value"),
        [
            ("AABB", "a day\na May\na tree\nthe sea", 1.0),
            ("AABB", "a day\na May\na tree\na house", 0.5),
            ("ABAB", "a day\na tree\na May\nthe sea", 1.0),
            ("ABAB", "a day\na May\na tree\nthe sea", 0.0),
            ("AABB", "a day\na May", 0.5),
            ("AABB", "a day\na May\na tree\nthe sea\na cat", 0.5),
            ("AAA", "a day\na May\na tree", 1 / 3),
            ("XAXA", "a tree\na day\na house\na May", 1.0),
            ("aabb", "a day\n\na May!\n\na tree,\nthe sea...", 1.0),
            ("AA", "day\nday", 0.0),
            ("AA", "", 0.0),
        ],
    )
    def test_share_of_the_pairs_that_rhyme(self, scheme: str, text: str, value: float) -> None:
        """Missing lines for free; the same word again and again; empty lines counted; a stanza
        begun and left."""
        assert verse(scheme=scheme)([""], [text]) == [pytest.approx(value)]

    def test_shakespeare_rhymes(self) -> None:
        """All but temperate and date, which parted since 1609."""
        values = verse(scheme="ABABCDCDEFEFGG")([""], [SONNET_18])
        assert values == [pytest.approx(6 / 7)]


class TestMetre:
    @pytest.mark.parametrize(
        ("foot", "feet", "line", "value"),
        [
            ("iamb", 2, "Behold the day", 1.0),
            ("iamb", 1, "happy", 1 - 2 / 2),
            ("trochee", 1, "happy", 1.0),
            ("iamb", 2, "a day", 1 - 2 / 4),
            ("iamb", 1, "a day again", 1 - 2 / 4),
            ("dactyl", 1, "happily", 1.0),
            ("anapaest", 2, "and the sound of a voice", 1.0),
            ("iamb", 2, "", 0.0),
        ],
    )
    def test_distance_by_hand(self, foot: str, feet: int, line: str, value: float) -> None:
        """Feet the wrong way round; short lines for free; the distance per foot."""
        values = verse(foot=foot, feet=feet)([""], [line])
        assert values == [pytest.approx(value)]

    def test_poems_keep_theirs_better_than_prose(self) -> None:
        """A measure under which every text is verse: words of one syllable fit anywhere."""
        pentameter = verse(feet=5)
        poem, prose = pentameter(["", ""], [SONNET_18, PROSE])
        assert poem > 0.95
        assert prose < 0.7
        trochees, iambs = (
            verse(foot=foot, feet=4)([""], [HIAWATHA])[0] for foot in ("trochee", "iamb")
        )
        assert trochees == 1.0 > 0.9 > iambs

    def test_both_count_half(self) -> None:
        """Rhyme that outvotes metre, or is forgotten beside it."""
        both = reward("verse", scheme="AA", feet=2)
        assert both([""], ["Behold the day\nbehold the house"]) == [0.5]


@pytest.mark.parametrize(
    ("knobs", "key"),
    [
        ({"scheme": "ABC"}, "scheme"),
        ({"scheme": "XX"}, "scheme"),
        ({"scheme": "A-A"}, "scheme"),
        ({"scheme": None, "feet": None}, "feet"),
        ({"foot": "spondee"}, "foot"),
    ],
)
def test_mistakes_are_told_with_their_key(knobs: dict[str, Any], key: str) -> None:
    """A scheme in which nothing rhymes: a reward that is the same for all."""
    assert list(mistakes("verse", **knobs)) == [f"reward.{key}"]
