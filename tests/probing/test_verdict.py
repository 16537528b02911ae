"""What is warned of, what is by design, and by what strategies are measured."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from probed_rewards import ROWS, Score, exact, material, pays
from rich.console import Console

from rlexp.probing.earnings import RewardProbe
from rlexp.probing.probe import probe
from rlexp.probing.report import print_probe, probe_json, probe_line
from rlexp.probing.verdict import judge_probe


def probed(score: Score, answers: Any = None, **settings: Any) -> RewardProbe:
    known = {"answers": answers} if answers else {}
    return probe(pays(score, **settings), material(**known), 8)


def warned(score: Score, answers: Any = None, **settings: Any) -> list[str]:
    return [earned.what for earned in judge_probe(probed(score, answers, **settings)).warnings]


def contains(prompt: str, completion: str, columns: dict[str, Any]) -> float:
    return float(str(columns["answer"]) in completion)


def words(prompt: str, completion: str, columns: dict[str, Any]) -> float:
    return float(len(completion.split()) > 1)


def test_a_sound_reward_is_not_accused() -> None:
    """A warning that nobody can act upon, before each training."""
    assert warned(exact) == []


def test_one_kind_is_one_warning_with_the_best_paid_first() -> None:
    """A wall of lines, in which the cause is named three times."""
    [warning] = warned(contains)
    assert warning.startswith("a list of all answers earns 1.000, 100% of what the reference")


def test_half_of_what_references_earn_is_counted_from_nothing() -> None:
    """Negative rewards: half of -1 is more than -1; rewards from -1 to 1: 0 is half of the way."""

    def shifted(prompt: str, completion: str, columns: dict[str, Any]) -> float:
        return exact(prompt, completion, columns) * 2 - 1 + 0.9 * (completion == "")

    assert warned(shifted, most=None) == []
    assert warned(lambda *asked: shifted(*asked) + 0.2 * (asked[1] == ""), most=None)


def test_without_references_the_most_is_the_measure() -> None:
    """Prompts alone, for which any reward would pass."""
    assert any("the most that it can give" in what for what in warned(words, [None] * len(ROWS)))
    verdict = judge_probe(probed(words, [None] * len(ROWS), most=None))
    assert (verdict.yardstick, verdict.warnings, verdict.paid) == (None, [], [])


@pytest.mark.parametrize(
    ("score", "part"),
    [
        (lambda *asked: 0.4 * exact(*asked), "reference answers earn 0.400, 40% of the most"),
        (lambda *asked: None if "They" in asked[1] else 0.0, "no reference answer has a value"),
        (lambda *asked: None if asked[2]["answer"] == 7 else exact(*asked), "1 of 4 reference"),
    ],
)
def test_references_that_earn_too_little(score: Score, part: str) -> None:
    """A reward that does not read the data's own answers: nothing can be learnt from it."""
    assert any(part in what for what in warned(score))


def test_an_unknown_scale_still_tells_that_references_earn_nothing() -> None:
    """A sign the wrong way round, in a function of the user's own."""
    assert any(
        "no more than the worst" in what for what in warned(lambda *a: -exact(*a), most=None)
    )


def test_what_is_by_design_is_no_warning() -> None:
    """A warning before each training on praise, since praise pays whatever was asked."""
    design = {"answers": "a happy text is happy"}
    verdict = judge_probe(probed(lambda *a: float("They" in a[1]), design=design))
    assert verdict.warnings == []
    assert {earned.kind for earned in verdict.by_design} == {"answers"}
    assert verdict.by_design[0] in verdict.paid


def test_references_that_were_not_written_for_the_reward_are_no_measure() -> None:
    """Praise measured by the sentiment of sums: any cheerful word would be accused."""
    design = {"answers": "a happy text is happy"}
    verdict = judge_probe(probed(lambda *a: 0.02 * bool(a[1]), design=design))
    assert verdict.measured_by == "the most that it can give" and verdict.warnings == []


def test_a_failure_is_warned_of_once_with_all_that_it_happens_on() -> None:
    """An empty answer, on which the training would end."""

    def fails(prompt: str, completion: str, columns: dict[str, Any]) -> float:
        return exact(prompt, completion, columns) + 0 * len(completion.split()[0])

    [warning] = judge_probe(probed(fails)).warnings
    assert "on an empty answer the reward raised IndexError" in warning.what
    assert "scoring.on_error=missing" in warning.remedy


def test_the_line_says_the_worst_or_that_all_is_well() -> None:
    """A line that cannot be read without the table."""
    well, ill = probed(exact), probed(contains)
    assert probe_line(well, judge_probe(well)) == (
        "reference answers 1.000; best cheap strategy 0.250 (a list of all answers)"
    )
    assert probe_line(ill, judge_probe(ill)).startswith("! a list of all answers earns 1.000")


def test_the_table_names_all_and_marks_what_pays() -> None:
    """Markup in a prompt that is taken for colour; numbers that a narrow terminal cuts."""
    rows = [{**row, "prompt": f"[bold]{row['prompt']}"} for row in ROWS]
    shown = io.StringIO()
    result = probe(pays(contains), material(rows=rows), 8, (), (200, 0))
    print_probe(result, judge_probe(result), Console(file=shown, width=90, highlight=False))
    lines = shown.getvalue().splitlines()
    assert any(line.startswith("! a list of all answers") and "100%" in line for line in lines)
    assert any("[bold]" in line and "echo of the prompt" in line for line in lines)
    assert any(
        line.startswith("  reference answers") and "[1.000, 1.000]" in line for line in lines
    )


def test_the_file_holds_what_the_table_shows() -> None:
    """JSON that cannot be written, or lacks what a script asks for."""
    result = probed(contains)
    content = json.loads(json.dumps(probe_json(result, judge_probe(result))))
    paid = {
        earned["name"]: earned["of_references"] for earned in content["earnings"] if earned["pays"]
    }
    assert paid["a list of all answers"] == 1.0
    assert content["warnings"][0]["remedy"] and content["most"] == 1.0
