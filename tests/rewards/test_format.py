"""Forms and the answers in them: regular expressions, tags, JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from reward_specs import mistakes, reward

from rlexp.spec.errors import UserError


class TestPattern:
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
        assert reward("format", **knobs)([""], [text]) == [value]

    @pytest.mark.parametrize(
        ("answer", "text", "value"),
        [
            ("so <<9*2=18>>\n#### 18", "That is #### 18.", 1.0),
            ("#### 1,018", "####1018.0", 1.0),
            ("#### 18", "#### $18", 1.0),
            ("#### 18", "#### 180", 0.0),
            ("#### -3", "#### 3", 0.0),
            ("#### 18", "#### 17, or #### 18", 0.0),
            (None, "#### 18", None),
        ],
    )
    def test_grades_gsm8k(self, answer: str | None, text: str, value: float | None) -> None:
        """Numbers compared as texts; the column's own solution taken for the answer; a policy that
        lists guesses rewarded; a row without an answer punished."""
        assert reward("format", column="answer")([""], [text], answer=[answer]) == [value]

    def test_texts_are_equal_as_texts(self) -> None:
        """A comparison that only knows numbers; one for which `nan` is a number."""
        choose = reward("format", pattern=r"\((\w+)\)", column="key", column_pattern="(.*)")
        assert choose([""] * 3, ["(B)", "(C)", "(nan)"], key=["B", "B", "nan"]) == [1.0, 0.0, 1.0]

    def test_a_column_without_answer_is_named(self) -> None:
        """Rows whose answer the pattern misses would score 0 for ever, whatever the policy says."""
        with pytest.raises(UserError, match=r"(?s)'18' in the column 'answer'.*column_pattern"):
            reward("format", column="answer")([""], ["#### 18"], answer=["18"])

    def test_a_column_that_the_data_lacks_is_named(self) -> None:
        """A KeyError from inside the trainer."""
        with pytest.raises(UserError, match=r"reward\.column: got key"):
            reward("format", column="key")([""], ["#### 18"], answer=["18"])

    @pytest.mark.parametrize(
        ("changes", "key", "want"),
        [
            ({"pattern": "(a"}, "pattern", "unterminated subpattern"),
            ({"pattern": "a", "column": "answer"}, "column", "a group"),
            ({"column_pattern": "a"}, "column_pattern", "a group"),
            ({"unmatched": 1.0}, "unmatched", "another value"),
            ({"flags": ["verbose"]}, "flags.0", "'ignorecase'"),
            ({"kind": "tags", "tags": []}, "tags", "at least one"),
            ({"tags": ["a", "a"]}, "tags", "different names"),
            ({"tags": ["<a>"]}, "tags", "letters"),
        ],
    )
    def test_mistakes_are_told_with_their_key(
        self, changes: dict[str, Any], key: str, want: str
    ) -> None:
        """A regular expression that fails only when the first completion arrives."""
        problems = mistakes("format", **changes)
        assert list(problems) == [f"reward.{key}"]
        assert want in problems[f"reward.{key}"]


class TestTags:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("<think>9 + 9</think><answer>18</answer>", 1.0),
            ("\n<think>\n9 < 10\n</think>\n\n<answer>18</answer>\n", 1.0),
            ("<answer>18</answer><think>9 + 9</think>", 0.0),
            ("<think>9</think><think>9</think><answer>18</answer>", 0.0),
            ("<think>9<answer>18</answer></think>", 0.0),
            ("<think> </think><answer>18</answer>", 0.0),
            ("<think>9</think><answer>18", 0.0),
            ("So: <think>9</think><answer>18</answer>", 0.0),
            ("<think>9</think><answer>18</answer> done", 0.0),
            ("<think>9</think><answer><answer>18</answer>", 0.0),
            ("", 0.0),
        ],
    )
    def test_each_once_closed_in_order_and_nothing_outside(self, text: str, value: float) -> None:
        """A policy that opens tags twice, leaves them empty, or writes around them."""
        assert reward("format", kind="tags")([""], [text]) == [value]

    def test_the_last_tag_holds_the_answer(self) -> None:
        """A right number in the reasoning taken for the answer."""
        graded = reward("format", kind="tags", column="answer")
        completions = [
            "<think>9</think><answer> 18 </answer>",
            "<think>18</think><answer>9</answer>",
        ]
        assert graded([""] * 2, completions, answer=["18.0", "18"]) == [1.0, 0.0]
        from_solution = reward("format", kind="tags", column="answer", column_pattern=r"#### (\S+)")
        assert from_solution([""], completions[:1], answer=["9 + 9 #### 18"]) == [1.0]

    def test_a_long_completion_takes_no_time(self) -> None:
        """A regular expression that tries each of a million ways to cut a text in two."""
        begun = time.monotonic()
        assert reward("format", kind="tags")([""], ["<think>" + "a " * 50_000]) == [0.0]
        assert time.monotonic() - begun < 5


SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}, "why": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


class TestJson:
    @pytest.mark.parametrize(
        ("schema", "text", "value"),
        [
            (None, "[1, 2]", 1.0),
            (None, "```json\n[1, 2]\n```", 1.0),
            (None, "So: [1, 2]", 0.0),
            (None, "NaN", 0.0),
            (None, "[" * 100_000, 0.0),
            (None, "", 0.0),
            (SCHEMA, '{"answer": 18, "why": "9 + 9"}', 1.0),
            (SCHEMA, '{"answer": "18"}', 0.0),
            (SCHEMA, '{"why": "9 + 9"}', 0.0),
            (SCHEMA, '{"answer": 18, "sure": true}', 0.0),
        ],
    )
    def test_form_alone(self, schema: Any, text: str, value: float) -> None:
        """Python's JSON, which knows NaN; brackets that end the interpreter; a schema ignored."""
        assert reward("format", kind="json", json_schema=schema)([""], [text]) == [value]

    @pytest.mark.parametrize(
        ("key", "text", "right", "value"),
        [
            ("answer", '{"answer": 18}', "18.0", 1.0),
            ("answer", '{"reply": 18}', "18", 0.0),
            ("answer", "[18]", "18", 0.0),
            (None, '{"b": 1, "a": [2]}', '{"a":[2],"b":1}', 1.0),
            (None, '{"b": 1, "a": [2]}', {"a": [2], "b": 1}, 1.0),
            (None, '{"b": 1}', {"b": 2}, 0.0),
            (None, '"yes"', "yes", 1.0),
        ],
    )
    def test_the_answer_in_it(self, key: str | None, text: str, right: Any, value: float) -> None:
        """Objects compared by the order of their keys, or by their white space."""
        graded = reward("format", kind="json", json_key=key, column="a")
        assert graded([""], [text], a=[right]) == [value]

    def test_a_schema_may_stand_in_a_file(self, tmp_path: Path) -> None:
        """A path read as a schema; a run that cannot be repeated since its schema is not known."""
        file = tmp_path / "schema.json"
        file.write_text(json.dumps(SCHEMA), encoding="utf-8")
        valid = reward("format", kind="json", json_schema=str(file))
        assert valid.problems() == []
        assert valid([""] * 2, ['{"answer": 1}', "[1]"]) == [1.0, 0.0]
        assert file in valid.code_files()

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            ("nowhere.json", "nowhere.json"),
            ({"type": "objekt"}, "/type"),
            ({"$ref": "https://example.org/schema"}, "refers to https://example.org/schema"),
        ],
    )
    def test_a_wrong_schema_is_told_before_the_run(self, schema: Any, message: str) -> None:
        """A traceback at the first completion; a schema fetched from the network."""
        problems = reward("format", kind="json", json_schema=schema).problems()
        assert [problem.key for problem in problems] == ["reward.json_schema"]
        assert message in problems[0].got
