"""Rewards that count words, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from reward_specs import mistakes, reward


class TestSentiment:
    def test_is_vaders_formula(self) -> None:
        """`good` has the valence 1.9 in the lexicon: 1.9 / sqrt(1.9² + 15), to 4 digits."""
        sentiment = reward("sentiment", scope="completion")
        assert sentiment([""], ["good"]) == [round(1.9 / math.sqrt(1.9**2 + 15), 4)]

    def test_whole_judges_the_opening_too(self) -> None:
        """An opening that is ignored, or judged where only the completion should be."""
        columns = {"opening": ["I hate this"]}
        whole = reward("sentiment", scope="whole")([""], [" film"], **columns)
        alone = reward("sentiment", scope="completion")([""], [" film"], **columns)
        assert whole[0] < -0.3
        assert alone == [0.0]

    def test_whole_without_openings_judges_the_completion(self) -> None:
        """Data of questions has no openings; the default scope must serve it as well."""
        assert reward("sentiment", scope="whole")(["?"], ["bad"])[0] < 0


def keyword(**changes: Any) -> Any:
    return reward("keyword", **{"must": [], **changes})


class TestKeyword:
    @pytest.mark.parametrize(
        ("knobs", "text", "value"),
        [
            ({"must": ["art"]}, "a party", 0.0),
            ({"must": ["art"], "whole_words": False}, "a party", 1.0),
            ({"must": ["Art"]}, "ART!", 1.0),
            ({"must": ["Art"], "match_case": True}, "ART!", 0.0),
            ({"must": ["a", "b"]}, "a", 0.5),
            ({"must": ["a"], "count": 4}, "a a, a", 0.75),
            ({"must": ["a"], "count": 2}, "a a a a", 1.0),
            ({"must": ["a"], "must_not": ["b", "c"]}, "a b b", 0.5),
            ({"must_not": ["b"]}, "", 0.0),
            ({"must": ["很好"]}, "结局很好看", 1.0),
            ({"must": ["AI很好"]}, "有AI很好", 1.0),
            ({"must": ["AI很好"]}, "用XAI很好", 0.0),
            ({"must": ["C++"]}, "in C++, yes", 1.0),
            ({"must": ["caf\u00e9"]}, "a cafe\u0301", 1.0),
            ({"must": ["happy  end"]}, "a happy\nend", 1.0),
        ],
    )
    def test_values(self, knobs: dict[str, Any], text: str, value: float) -> None:
        """Boundaries, counts, case, scripts without spaces, accents in two encodings."""
        assert keyword(**knobs)([""], [text]) == [value]

    @pytest.mark.parametrize(
        ("knobs", "text", "value"),
        [
            ({"must": [["happy end", "大团圆"]]}, "结局大团圆", 1.0),
            ({"must": [["good", "fine"], "film"]}, "a fine day", 0.5),
            ({"must": [["good", "fine"]], "count": 3}, "good, fine", 2 / 3),
            ({"must": [["end", "happy end"]], "count": 2}, "happy end", 0.5),
            ({"must_not": [["bad", "awful"], "dull"]}, "bad, awful", -0.5),
        ],
    )
    def test_a_concept_is_any_of_its_phrases(
        self, knobs: dict[str, Any], text: str, value: float
    ) -> None:
        """Every synonym wanted at once; one place counted for two phrases that overlap there."""
        assert keyword(**knobs)([""], [text]) == [pytest.approx(value)]

    @pytest.mark.parametrize(
        ("phrase", "text", "value"),
        [
            ("wonder*", "It was wonderful.", 1.0),
            ("wonder*", "No wonder.", 1.0),
            ("wonder*", "nowonder", 0.0),
            ("영화*", "이 영화가 좋다", 1.0),
            ("영화", "이 영화가 좋다", 0.0),
            ("好*", "很好看", 1.0),
        ],
    )
    def test_an_open_end_takes_any_ending(self, phrase: str, text: str, value: float) -> None:
        """Korean particles and English endings, which whole words would miss."""
        assert keyword(must=[phrase])([""], [text]) == [value]

    @pytest.mark.parametrize(
        ("phrase", "text"), [("GPT", "用ＧＰＴ"), ("can't", "I can’t"), ("ｶﾞ", "ガ")]
    )
    def test_widths_and_apostrophes_are_one(self, phrase: str, text: str) -> None:
        """Full-width letters of Chinese keyboards, half-width kana, typographic apostrophes."""
        assert keyword(must=[phrase])([""], [text]) == [1.0]

    @pytest.mark.parametrize(
        ("must", "must_not", "key"),
        [
            ([], [], "must_not"),
            (["a"], [["b", "a"]], "must_not"),
            ([" "], [], "must"),
            ([[]], [], "must"),
            (["*"], [], "must"),
            ([3], [], "must.0"),
        ],
    )
    def test_says_which_list_is_wrong(self, must: list[Any], must_not: list[Any], key: str) -> None:
        """A reward that is 0 whatever the policy writes."""
        assert list(mistakes("keyword", must=must, must_not=must_not)) == [f"reward.{key}"]


class TestLength:
    @pytest.mark.parametrize(
        ("knobs", "text", "value"),
        [
            ({}, "one two three four", 1.0),
            ({}, "one two three four five", 0.5),
            ({}, "one two", 0.0),
            ({"unit": "characters"}, " abc\n", 0.5),
            ({"shape": "gaussian"}, "one two", math.exp(-0.5)),
            ({"shape": "gaussian"}, "", math.exp(-2)),
        ],
    )
    def test_values(self, knobs: dict[str, Any], text: str, value: float) -> None:
        """The formulas of the module's docstring at, beside and far from the target."""
        near_four = reward("length", **{"target": 4, "width": 2, **knobs})
        assert near_four([""], [text]) == [pytest.approx(value)]


class TestRepetition:
    @pytest.mark.parametrize(
        ("ngram", "text", "value"),
        [
            (1, "so SO so fun", -2 / 4),
            (2, "a b a b a", -2 / 4),
            (3, "a b", 0.0),
            (2, "很好很好", -1 / 3),
            (1, "", 0.0),
        ],
    )
    def test_values(self, ngram: int, text: str, value: float) -> None:
        """Off-by-one in the number of n-grams; -0.0, which prints as a penalty."""
        value_of_text = reward("repetition", ngram=ngram)([""], [text])[0]
        assert value_of_text == pytest.approx(value)
        assert math.copysign(1, value_of_text) == (-1 if value else 1)
