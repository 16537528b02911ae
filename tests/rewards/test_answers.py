"""Rewards that compare with a right answer: mathematics and summaries."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from reward_specs import DATA, reward

from rlexp.spec.errors import UserError


class TestMath:
    @pytest.mark.parametrize(
        ("right", "completion", "value"),
        [
            ("1/2", "0.5", 1.0),
            (r"\frac{1}{2}", "The answer is 1/2.", 1.0),
            (r"2\sqrt{2}", r"so $\sqrt{8}$", 1.0),
            ("x+1", r"\boxed{1 + x}", 1.0),
            ("1+x", "1", 0.0),
            ("(1,2)", r"\boxed{(2,1)}", 0.0),
            ("72%", "0.72", 1.0),
            ("1,018", "It costs $1018.00", 1.0),
            ("-5", "−5", 1.0),
            ("18", "答案是18。", 1.0),
            ("18", "18 eggs", 1.0),
            ("18", "17", 0.0),
            ("18", "", 0.0),
            ("18", "eighteen", 0.0),
            (18, "18", 1.0),
        ],
    )
    def test_equal_is_equal_however_it_is_written(
        self, right: Any, completion: str, value: float
    ) -> None:
        """Answers compared as texts; a bare formula of which only the last number is read."""
        assert reward("math")([""], [completion], answer=[right]) == [value]

    @pytest.mark.parametrize(
        ("completion", "value"),
        [
            ("9 + 9 = 18\n#### 18", 1.0),
            ("#### 18.0 apples", 1.0),
            ("#### $18", 1.0),
            ("#### 17\n#### 18", 0.0),
            ("18 #### none", 0.0),
            (r"\boxed{17} \boxed{18}", 0.0),
            ("$17$ or $18$", 0.0),
        ],
    )
    def test_gsm8ks_form_and_lists_of_guesses(self, completion: str, value: float) -> None:
        """A number in the reasoning taken for the answer; a policy that names every number."""
        assert reward("math")([""], [completion], answer=["so 18\n#### 18"]) == [value]

    @pytest.mark.parametrize("right", [None, "", "Paris", "#### none"])
    def test_without_a_right_answer_there_is_no_value(self, right: str | None) -> None:
        """0 for a row that says nothing: the policy is pushed away from whatever it wrote."""
        assert reward("math")([""], ["18"], answer=[right]) == [None]

    def test_an_answer_without_end_is_wrong_in_time(self) -> None:
        """A tower of powers, on which sympy would work for years."""
        assert reward("math", timeout=1)([""], [r"\boxed{9^{9^{9^{9}}}}"], answer=["9"]) == [0.0]

    def test_threads_get_the_same_values(self) -> None:
        """math-verify's clock is a signal: outside the main thread it raises, or reads less."""
        values: list[Any] = []
        math, completions = reward("math"), [r"\boxed{\frac{63}{400}}", "#### 2"]
        thread = threading.Thread(
            target=lambda: values.extend(math(["", ""], completions, answer=["63/400", "3"]))
        )
        thread.start()
        thread.join()
        assert values == [1.0, 0.0]

    @pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside this checkout")
    def test_every_solution_of_gsm8k_solves_its_own_question(self) -> None:
        """Numbers with commas, units or signs that are read on one side only."""
        lines = (DATA / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
        solutions = [json.loads(line)["answer"] for line in lines[:100]]
        math, none = reward("math"), [""] * len(solutions)
        boxed = [rf"\boxed{{{text.split('####')[1].strip()}}}" for text in solutions]
        assert math(none, solutions, answer=solutions) == [1.0] * len(solutions)
        assert math(none, boxed, answer=solutions) == [1.0] * len(solutions)
        numbers = [text.split("####")[1].strip() for text in solutions]
        shifted = [*numbers[1:], numbers[0]]
        same = sum(a == b for a, b in zip(numbers, shifted, strict=True))
        assert sum(math(none, shifted, answer=solutions)) == same


def rouge(**knobs: Any) -> Any:
    return reward("summary", **knobs)


class TestSummary:
    @pytest.mark.parametrize(
        ("knobs", "completion", "value"),
        [
            # police killed the gunman, by Lin 2004, section 3.2
            ({"rouge": "rougeL"}, "police kill the gunman", 3 / 4),
            ({"rouge": "rougeL"}, "the gunman kill police", 2 / 4),
            ({"rouge": "rouge2"}, "police kill the gunman", 1 / 3),
            ({"rouge": "rouge2"}, "the gunman kill police", 1 / 3),
            ({"rouge": "rouge1"}, "gunman", 2 * (1 / 4) / (1 / 4 + 1)),
            ({"rouge": "rouge1", "measure": "recall"}, "gunman", 1 / 4),
            ({"rouge": "rouge1", "measure": "precision"}, "gunman", 1.0),
            ({"rouge": "rouge1", "stem": True}, "police kills gunmen", 4 / 7),
            ({}, "", 0.0),
        ],
    )
    def test_published_and_hand_made_values(
        self, knobs: dict[str, Any], completion: str, value: float
    ) -> None:
        """Recall and precision exchanged; subsequences counted as n-grams; stems that are lost."""
        grade = rouge(**{"stem": False, **knobs})
        assert grade([""], [completion], summary=["police killed the gunman"]) == [
            pytest.approx(value)
        ]

    @pytest.mark.parametrize("stem", [True, False])
    @pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
    def test_english_is_as_rouge_score_has_it(self, kind: str, stem: bool) -> None:
        """Figures that cannot be compared with anybody's: words cut in another way."""
        from rouge_score.rouge_scorer import RougeScorer

        right = (
            "The U.S. economy's growth slowed;\nprices (up 3.5%) didn't fall in well-known cities."
        )
        completion = (
            "Growth in the US economy slows.\nKnown cities' prices didn't fall 3.5 %, snake_case."
        )
        expected = RougeScorer([kind], use_stemmer=stem).score(right, completion)[kind].fmeasure
        assert rouge(rouge=kind, stem=stem)([""], [completion], summary=[right]) == [expected]

    @pytest.mark.parametrize(
        ("completion", "right", "value"),
        [("电影很好", "电影好", 6 / 7), ("Кино хорошее", "хорошее кино", 1.0)],
    )
    def test_knows_other_scripts(self, completion: str, right: str, value: float) -> None:
        """rouge-score's own words are a to z: any Chinese or Russian text would score 0."""
        values = rouge(rouge="rouge1")([""], [completion], summary=[right])
        assert values == [pytest.approx(value)]

    @pytest.mark.parametrize("right", [None, "", "...", [], [None, ""]])
    def test_without_a_reference_there_is_no_value(self, right: Any) -> None:
        """0 for whatever the policy wrote, where there was nothing to be like."""
        assert rouge()([""], ["good"], summary=[right]) == [None]

    def test_the_best_of_several_references_counts(self) -> None:
        """Their mean, which no summary could bring to 1."""
        assert rouge()([""], ["a good film"], summary=[["bad", "a good film"]]) == [1.0]


@pytest.mark.parametrize("choice", ["math", "summary"])
def test_a_column_that_the_data_lacks_is_named(choice: str) -> None:
    """A KeyError from inside the trainer."""
    grade = reward(choice, column="key")
    assert grade.columns() == {"key"}
    with pytest.raises(UserError, match=r"reward\.column: got key"):
        grade([""], ["18"], other=["18"])


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError in the middle of the run; a package name that nobody can install."""
    monkeypatch.setattr("rlexp.runtime.extras.importlib.util.find_spec", lambda name: None)
    chosen = {"math": {}, "summary": {}, "verse": {}, "style": {"measure": "readability"}}
    chosen["format"] = {"kind": "json", "json_schema": {}}
    problems_of = {choice: reward(choice, **knobs).problems() for choice, knobs in chosen.items()}
    assert all(len(problems) == 1 for problems in problems_of.values())
    assert "[verse]" in problems_of["verse"][0].remedy
    assert all(
        "[rewards]" in problems_of[choice][0].remedy for choice in chosen if choice != "verse"
    )
