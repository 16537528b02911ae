"""Rewards against values worked out by hand."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlexp.conf_dir import CONF
from rlexp.rewards.base import texts_of, words_of
from rlexp.rewards.format import Format
from rlexp.rewards.keyword import Keyword
from rlexp.rewards.length import Length
from rlexp.rewards.none import NoReward
from rlexp.rewards.repetition import Repetition
from rlexp.rewards.sentiment import Sentiment
from rlexp.spec.components import component_class
from rlexp.spec.errors import UserError
from rlexp.spec.reward import RewardSpec, Text
from rlexp.spec.validation import validate

SINGLE = sorted(
    path for path in (CONF / "reward").glob("*.yaml") if path.stem not in ("mix", "model", "python")
)


def keyword(**changes: Any) -> Keyword:
    knobs = {"must": [], "must_not": [], "count": 1, "whole_words": True, "match_case": False}
    return Keyword(name="keyword", **{**knobs, **changes})


def length(**changes: Any) -> Length:
    knobs = {"target": 4, "width": 2, "unit": "words", "shape": "triangular"}
    return Length(name="length", **{**knobs, **changes})


def grader(**changes: Any) -> Format:
    knobs: dict[str, Any] = {
        "pattern": r"####\s*\$?(-?[0-9][0-9,.]*)",
        "match": "search",
        "flags": [],
        "matched": 1.0,
        "unmatched": 0.0,
        "column": None,
        "column_pattern": None,
    }
    return Format(name="format", **{**knobs, **changes})


def mistakes(kind: type[RewardSpec], fields: dict[str, Any]) -> dict[str, str]:
    """What validation says is wanted, by key."""
    problems: list[Any] = []
    assert validate(kind, fields, "reward", [], problems) is None
    return {problem.key: problem.want for problem in problems}


class TestTexts:
    def test_takes_the_last_turn_of_the_assistant(self) -> None:
        """Judging the user's words, or an earlier answer, as the policy's."""
        dialogue = [
            {"role": "assistant", "content": "first"},
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": "second"},
        ]
        assert texts_of([dialogue, "plain"]) == ["second", "plain"]

    def test_a_turn_without_text_is_empty(self) -> None:
        """A tool call has content null; that must not become the text "None"."""
        assert texts_of([[{"role": "assistant", "content": None}], []]) == ["", ""]

    def test_joins_the_text_parts_of_a_turn(self) -> None:
        """Content as typed parts, as multimodal templates have it."""
        parts = [
            {"type": "text", "text": "good"},
            {"type": "image"},
            {"type": "text", "text": " fun"},
        ]
        assert texts_of([[{"role": "assistant", "content": parts}]]) == ["good fun"]

    @pytest.mark.parametrize(
        ("opening", "completion", "whole"),
        [
            ("The plot", " was fun", "The plot was fun"),
            ("The plot", "was fun", "The plot was fun"),
            ("The plot ", "was fun", "The plot was fun"),
            ("The plot", ", they say", "The plot, they say"),
            ("The plot", "", "The plot"),
            ("", "Fun", "Fun"),
            (None, "Fun", "Fun"),
            ("这部电影", "很好", "这部电影很好"),
        ],
    )
    def test_two_words_never_run_together(
        self, opening: str | None, completion: str, whole: str
    ) -> None:
        """A chat model's stripped answer glued to the opening, or Chinese torn apart."""
        assert texts_of([completion], [opening]) == [whole]

    def test_openings_must_be_as_many_as_completions(self) -> None:
        """A silent zip would leave completions unjudged."""
        with pytest.raises(ValueError, match="longer than"):
            texts_of(["a", "b"], ["only one"])

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Don't stop—now, well-known!", ["Don't", "stop", "now", "well-known"]),
            ("snake_case 3.5", ["snake", "case", "3", "5"]),
            ("GPT很好 用", ["GPT", "很", "好", "用"]),
            (" \n", []),
        ],
    )
    def test_words(self, text: str, words: list[str]) -> None:
        """Punctuation counted as words; Chinese counted as one word a sentence."""
        assert words_of(text) == words


class TestSentiment:
    def test_is_vaders_formula(self) -> None:
        """`good` has the valence 1.9 in the lexicon: 1.9 / sqrt(1.9² + 15), to 4 digits."""
        judge = Sentiment(name="sentiment", scope="completion")
        assert judge([""], ["good"]) == [round(1.9 / math.sqrt(1.9**2 + 15), 4)]

    def test_whole_judges_the_opening_too(self) -> None:
        """An opening that is ignored, or judged where only the completion should be."""
        columns = {"opening": ["I hate this"]}
        whole = Sentiment(name="sentiment", scope="whole")([""], [" film"], **columns)
        alone = Sentiment(name="sentiment", scope="completion")([""], [" film"], **columns)
        assert whole[0] < -0.3
        assert alone == [0.0]

    def test_whole_without_openings_judges_the_completion(self) -> None:
        """Data of questions has no openings; the default scope must serve it as well."""
        assert Sentiment(name="sentiment", scope="whole")(["?"], ["bad"])[0] < 0


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
        ("must", "must_not", "key"),
        [([], [], "must_not"), (["a"], ["a"], "must_not"), ([" "], [], "must")],
    )
    def test_says_which_list_is_wrong(self, must: list[str], must_not: list[str], key: str) -> None:
        """A reward that is 0 whatever the policy writes."""
        fields = {**keyword(must=["x"]).model_dump(), "must": must, "must_not": must_not}
        assert list(mistakes(Keyword, fields)) == [f"reward.{key}"]


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
        assert length(**knobs)([""], [text]) == [pytest.approx(value)]


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
        found = Repetition(name="repetition", ngram=ngram)([""], [text])[0]
        assert found == pytest.approx(value)
        assert math.copysign(1, found) == (-1 if value else 1)


class TestFormat:
    @pytest.mark.parametrize(
        ("knobs", "text", "value"),
        [
            ({}, "#### 18", 1.0),
            ({}, "18", 0.0),
            ({"pattern": "yes", "match": "full"}, " yes\n", 1.0),
            ({"pattern": "yes", "match": "full"}, "yes!", 0.0),
            ({"pattern": "yes", "flags": ["ignorecase"]}, "YES", 1.0),
            ({"pattern": "a.b", "flags": ["dotall"]}, "a\nb", 1.0),
            ({"pattern": "x*"}, "", 1.0),
            ({"pattern": "x", "unmatched": -2.0}, "", -2.0),
        ],
    )
    def test_form_alone(self, knobs: dict[str, Any], text: str, value: float) -> None:
        """Search and full match confused, flags dropped, an empty completion refused."""
        assert grader(**knobs)([""], [text]) == [value]

    @pytest.mark.parametrize(
        ("answer", "text", "right"),
        [
            ("so <<9*2=18>>\n#### 18", "That is #### 18.", True),
            ("#### 1,018", "####1018.0", True),
            ("#### 18", "#### $18", True),
            ("#### 18", "#### 180", False),
            ("#### -3", "#### 3", False),
            ("#### 18", "#### 17, or #### 18", False),
        ],
    )
    def test_grades_gsm8k(self, answer: str, text: str, right: bool) -> None:
        """Numbers compared as texts; the column's own solution taken for the answer; a policy that
        lists guesses rewarded."""
        assert grader(column="answer")([""], [text], answer=[answer]) == [float(right)]

    def test_texts_are_equal_as_texts(self) -> None:
        """A comparison that only knows numbers; one for which `nan` is a number."""
        choose = grader(pattern=r"\((\w+)\)", column="key", column_pattern="(.*)")
        assert choose([""] * 3, ["(B)", "(C)", "(nan)"], key=["B", "B", "nan"]) == [1.0, 0.0, 1.0]

    def test_a_column_without_answer_is_named(self) -> None:
        """Rows whose answer the pattern misses would score 0 for ever, whatever the policy says."""
        with pytest.raises(UserError, match=r"(?s)'18' in the column 'answer'.*column_pattern"):
            grader(column="answer")([""], ["#### 18"], answer=["18"])

    def test_a_column_that_the_data_lacks_is_named(self) -> None:
        """A KeyError from inside the trainer."""
        with pytest.raises(UserError, match=r"reward\.column: got key"):
            grader(column="key")([""], ["#### 18"], answer=["18"])

    @pytest.mark.parametrize(
        ("changes", "key", "want"),
        [
            ({"pattern": "(a"}, "pattern", "unterminated subpattern"),
            ({"pattern": "a", "column": "answer"}, "column", "a group"),
            ({"column_pattern": "a"}, "column_pattern", "a group"),
            ({"unmatched": 1.0}, "unmatched", "another value"),
            ({"flags": ["verbose"]}, "flags.0", "'ignorecase'"),
        ],
    )
    def test_mistakes_are_told_with_their_key(
        self, changes: dict[str, Any], key: str, want: str
    ) -> None:
        """A regular expression that fails only when the first completion arrives."""
        found = mistakes(Format, {**grader().model_dump(), **changes})
        assert list(found) == [f"reward.{key}"]
        assert want in found[f"reward.{key}"]


def test_none_has_nothing_to_report() -> None:
    """A column of zeros in the card of a run without reward."""
    scores = NoReward(name="none").score([""], ["a"], {})
    assert (scores.total, scores.terms) == ([0.0], {})


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.stem)
class TestEveryYaml:
    def load(self, path: Path) -> RewardSpec:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = component_class(config, RewardSpec, "reward")
        return kind(**{key: value for key, value in config.items() if key != "_target_"})

    def test_has_each_field_and_a_description(self, path: Path) -> None:
        """A default in Python instead of the yaml; a choice that `--help` cannot describe."""
        text = path.read_text(encoding="utf-8")
        spec = self.load(path)
        assert set(yaml.safe_load(text)) - {"_target_"} == set(type(spec).model_fields)
        assert text.startswith("# ")
        assert spec.name == path.stem

    def test_survives_pickling_before_and_after_use(self, path: Path) -> None:
        """A cached analyser or a lambda that cannot go to another process."""
        spec = self.load(path)
        completions: list[Text] = [
            " was wonderful #### 18",
            "",
            [{"role": "assistant", "content": "很好"}],
        ]
        prompts: list[Text] = ["The film"] * 3
        before = pickle.loads(pickle.dumps(spec))
        values = spec(prompts, completions, opening=prompts)
        after = pickle.loads(pickle.dumps(spec))
        assert before(prompts, completions, opening=prompts) == values
        assert after(prompts, completions, opening=prompts) == values
        assert len(values) == 3
        assert all(type(value) is float and math.isfinite(value) for value in values)
        assert spec([], []) == []
