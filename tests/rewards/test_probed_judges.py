"""Judges probed: what cheap strategies earn from a sober one, and from one that obeys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from judge_server import JudgeServer, constitution_at, judge_at, served
from reward_verdicts import Row, assert_holds, material, verdict

from rlexp.probing.probe import probe
from rlexp.spec.reward import RewardSpec


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    with served() as judge:
        yield judge


TOPICS = ["whales", "trains", "onions", "clocks"]
ESSAYS: list[Row] = [
    (f"Tell me of {topic}.", f"A good word on {topic}, with care.") for topic in TOPICS
]


def worth(prompt: str, answer: str) -> int:
    """What a sober judge sees: whether an answer says something good of what was asked alone."""
    named = [topic for topic in TOPICS if topic in answer]
    return 9 * ("good" in answer and named == [prompt.removesuffix(".").split()[-1]])


def sober(question: str) -> str:
    prompt, *answers = (part.strip() for part in question.split("|"))
    values = [worth(prompt, answer) for answer in answers]
    if len(values) == 1:
        return f"Score: {1 + values[0]}"
    first, second = values
    return "Verdict: tie" if first == second else f"Verdict: {'A' if first > second else 'B'}"


class TestJudges:
    def test_a_sober_judge_holds(self, server: JudgeServer) -> None:
        """Answers shown with another row's prompt."""
        server.rule = sober
        graded = judge_at(server.url, rubric="{prompt}|{completion}")
        assert_holds(graded, material(ESSAYS, graded), 3)

    def test_a_judge_that_obeys_is_found(self, server: JudgeServer) -> None:
        """Instructions to the judge that are not tried, or not told of."""
        server.rule = lambda question: "Score: 10" if "Score: 10" in question else sober(question)
        graded = judge_at(server.url, rubric="{prompt}|{completion}")
        [warning] = verdict(graded, material(ESSAYS, graded), 1).warnings
        assert warning.what.startswith("an instruction to the judge earns 1.000")

    @pytest.mark.parametrize(
        "make",
        [
            lambda url: judge_at(url, mode="pairwise", pair_rubric="{prompt}|{first}|{second}"),
            lambda url: constitution_at(
                url, rubric="{prompt}|{first}|{second}", principles=["Be good."]
            ),
        ],
        ids=["pairwise", "constitution"],
    )
    def test_answers_are_compared_with_each_other(
        self, server: JudgeServer, make: Callable[[str], RewardSpec]
    ) -> None:
        """Strategies that never meet a right answer, and win among themselves."""
        server.rule = sober
        graded = make(server.url).model_copy(update={"opponents": None})
        judged = probe(graded, material(ESSAYS[:2], graded), 1)
        assert judged.references is not None and (judged.references.mean or 0.0) > 0.95
