"""Judges: preferences in both orders, tournaments, principles, and what they refuse."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer, by_count, constitution_at, good, judge_at, knobs, served
from runs import spec_of

from rlexp.data.derived.preference_sampling import sample_rows
from rlexp.rewards.constitution import Constitution
from rlexp.rewards.judge import Judge
from rlexp.rewards.judging.endpoint_judge import HIDDEN_VARIABLE
from rlexp.spec.errors import Problem, RunFailed, UserError
from rlexp.spec.policy import Completion
from rlexp.spec.text import Text
from rlexp.spec.validation import validate
from rlexp.tracking.secrets import redacted

PRINCIPLES = ["Be good.", "Be brief.", "Be kind.", "Be honest."]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    """A stand-in, and a cache of the test's own."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    with served() as judge:
        yield judge


def shares(server: JudgeServer, texts: list[str], **changes: Any) -> list[float | None]:
    judge = judge_at(server.url, mode="pairwise", **{"opponents": None, **changes})
    return judge(["Say"] * len(texts), [*texts])


def first_unless(lead: int) -> Any:
    """Prefers what stands first, unless the second has so many more "good"."""

    def rule(question: str) -> str:
        first, second = (good(part) for part in question.split("> <"))
        return "Verdict: B" if second - first >= lead else "Verdict: A"

    return rule


class TestBothOrders:
    @pytest.mark.parametrize("always", ["A", "B"])
    def test_a_place_that_decides_alone_is_a_tie(self, server: JudgeServer, always: str) -> None:
        """A judge that looks at the place only, whose bias ends up in the reward."""
        server.rule = lambda question: f"Verdict: {always}"
        assert shares(server, ["good", "bad", "good good"]) == [0.5, 0.5, 0.5]

    def test_a_bias_cancels_where_it_is_weaker(self, server: JudgeServer) -> None:
        """A true preference that is lost with the bias, or a biased one that stays."""
        server.rule = first_unless(2)
        assert shares(server, ["good good", "bad"]) == [1.0, 0.0]
        assert shares(server, ["good", "bad"]) == [0.5, 0.5]

    def test_a_tie_counts_half(self, server: JudgeServer) -> None:
        """A tie in one order and a win in the other are three quarters of a win."""
        server.rule = lambda question: (
            "Verdict: tie" if question.startswith("Compare <good") else by_count(question)
        )
        assert shares(server, ["good", "bad"]) == [0.75, 0.25]

    def test_equal_texts_are_a_tie_that_nobody_is_asked_about(self, server: JudgeServer) -> None:
        """A policy against itself that wins more or less than half."""
        assert shares(server, ["good", "good"]) == [0.5, 0.5]
        assert server.asked == []

    def test_one_unreadable_order_makes_the_pair_missing(self, server: JudgeServer) -> None:
        """Half of a comparison, which has the bias of its order."""
        server.rule = lambda question: (
            "Hm" if question.startswith("Compare <good>") else by_count(question)
        )
        assert shares(server, ["good", "bad"]) == [None, None]
        preferences = judge_at(server.url).prefer(
            ["Say"] * 2, ["good", "x"], ["bad", "good good"], {}
        )
        assert [preference and preference.value for preference in preferences] == [None, 0.0]


class TestTournament:
    def test_win_shares_among_the_completions_of_a_prompt(self, server: JudgeServer) -> None:
        """Completions of other prompts that are mixed in, or shares at the wrong ones."""
        texts = {"one": ["good", "bad", "good good"], "two": ["worse", "good good good"]}
        rows = [(prompt, text) for prompt, group in texts.items() for text in group]
        rows = [rows[index] for index in (3, 0, 4, 1, 2)]  # not next to each other
        prompts: list[Text] = [prompt for prompt, _ in rows]
        completions: list[Text] = [text for _, text in rows]
        judge = judge_at(server.url, mode="pairwise", opponents=None)
        assert judge(prompts, completions) == [0.0, 0.5, 1.0, 0.0, 1.0]
        assert len(server.asked) == 2 * (3 + 1)

    @pytest.mark.parametrize(("n", "opponents"), [(8, 3), (7, 2), (7, 3), (5, 1), (4, 3), (3, 9)])
    def test_each_meets_as_many_as_asked_for(
        self, server: JudgeServer, n: int, opponents: int
    ) -> None:
        """A completion that meets nobody, somebody twice, or itself."""
        judge = judge_at(server.url, mode="pairwise", opponents=opponents)
        pairs = list(judge._matchups(list(range(n))))
        assert len({frozenset(pair) for pair in pairs}) == len(pairs)
        assert all(a != b for a, b in pairs)
        met = Counter(member for pair in pairs for member in pair)
        wanted = min(opponents, n - 1)
        odd_one = n * wanted % 2
        assert sorted(met.values()) == [wanted] * (n - odd_one) + [wanted + 1] * odd_one

    def test_a_lonely_completion_among_others_is_missing(self, server: JudgeServer) -> None:
        """The only completion of its prompt, scored as if it had lost."""
        judge = judge_at(server.url, mode="pairwise")
        assert judge(["a", "b", "b"], ["good", "good", "bad"]) == [None, 1.0, 0.0]

    def test_nothing_to_compare_is_told(self, server: JudgeServer) -> None:
        """A training in which every reward is missing."""
        with pytest.raises(RunFailed, match="each prompt has one completion"):
            judge_at(server.url, mode="pairwise")(["a", "b"], ["good", "bad"])


def test_against_a_column_of_the_data(server: JudgeServer) -> None:
    """A row without a text to compare with that shifts the others, or counts as lost."""
    judge = judge_at(server.url, mode="pairwise", against="chosen")
    assert judge.columns() == {"chosen"}
    chosen = ["good", None, [{"role": "assistant", "content": "good good good"}]]
    completions: list[Text] = [
        [{"role": "assistant", "content": text}] for text in ("good good", "good", "bad")
    ]
    prompts: list[Text] = [[{"role": "user", "content": "Say"}]] * 3
    assert judge(prompts, completions, chosen=chosen, other=[1, 2, 3]) == [1.0, None, 0.0]


def test_the_question_names_columns(server: JudgeServer) -> None:
    """A column's value at another row, or a completion that is taken for a template."""
    judge = judge_at(server.url, rubric="By {answer}: <{completion}>")
    judge(["Say"] * 2, ["{answer} good", "b"], answer=[18, {"x": 1}])
    assert sorted(server.questions) == ["By 18: <{answer} good>", "By {'x': 1}: <b>"]


class TestConstitution:
    def test_both_orders_are_asked_by_the_same_principle(self, server: JudgeServer) -> None:
        """A principle drawn anew for each order: the bias would no longer cancel."""
        rules = constitution_at(server.url, principles=PRINCIPLES, opponents=None)
        rules(["Say"] * 6, [f"good {index}" for index in range(6)])
        by_pair: dict[frozenset[str], set[str]] = {}
        for question in server.questions:
            principle, _, pair = question.partition(": ")
            by_pair.setdefault(frozenset(pair[1:-1].split("> <")), set()).add(principle)
        assert len(by_pair) == 15 and len(server.asked) == 30
        assert {len(principles) for principles in by_pair.values()} == {1}
        assert len(set.union(*by_pair.values())) == len(PRINCIPLES)

    def test_the_seed_decides_which_principle(self, server: JudgeServer) -> None:
        """A draw that depends on the order of the batch, or that no seed changes."""

        def drawn(seed: int) -> list[str]:
            rules = constitution_at(server.url, principles=PRINCIPLES, seed=seed)
            return [
                rules.about_pair("Say", {f"{index}", "x"})[1]["principles"] for index in range(9)
            ]

        assert drawn(1) == drawn(1) != drawn(2)

    def test_all_of_them_in_one_question(self, server: JudgeServer) -> None:
        rules = constitution_at(server.url, principles=PRINCIPLES[:2], draw="all")
        assert rules(["Say"] * 2, ["good", "bad"]) == [1.0, 0.0]
        assert {text.partition(": ")[0] for text in server.questions} == {
            "Compare by - Be good.\n- Be brief."
        }

    def test_makes_pairs_where_the_data_has_none(self, server: JudgeServer) -> None:
        """Pairs the wrong way round, or of answers to different prompts."""
        texts = {"one": ["good", "bad", "good good"], "two": ["bad", "worse", "good one"]}
        rules = constitution_at(server.url, opponents=None)

        def complete(prompts: Any) -> list[list[Completion]]:
            return [
                [Completion(text, [1], [2], True) for text in texts[prompt]] for prompt in prompts
            ]

        def score(prompts: Any, answers: Any, columns: Any) -> list[Any]:
            return list(rules.score(prompts, answers, columns).total)

        rows = [{"prompt": prompt} for prompt in texts]
        pairs_made, _ = sample_rows("pairs", rows, complete, score)
        assert [(row["chosen"], row["rejected"]) for row in pairs_made] == [
            ("good good", "bad"),
            ("good one", "bad"),
        ]


def test_judges_can_be_sent_to_another_process() -> None:
    """Launchers and workers pickle the spec."""
    for judge in (judge_at("http://127.0.0.1:9"), constitution_at("http://127.0.0.1:9")):
        assert pickle.loads(pickle.dumps(judge)) == judge


def wrong(kind: type[Any], choice: str, **changes: Any) -> list[Problem]:
    problems: list[Problem] = []
    fields = {**knobs(choice, "http://127.0.0.1:9/v1"), **changes}
    judge = validate(kind, fields, "reward", [], problems)
    return problems + (judge.problems() if judge else [])


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"base_url": "localhost:8000"}, ["reward.base_url", "http://127.0.0.1:8000/v1"]),
        (
            {"base_url": "http://127.0.0.1:9/v1/chat/completions"},
            ["reward.base_url=http://127.0.0.1:9/v1"],
        ),
        ({"base_url": "https://me:pass-word@host/v1"}, ["reward.base_url", "api_key_env"]),
        ({"api_key_env": "NOT_SET_KEY"}, ["reward.api_key_env", "not set", "export NOT_SET_KEY"]),
        ({"api_key_env": "pass-word-1234"}, ["reward.api_key_env", "ends with KEY"]),
        ({"rubric": "Rate {prompt}"}, ["reward.rubric", "without {completion}"]),
        ({"pair_rubric": "{first}?"}, ["reward.pair_rubric", "without {second}"]),
        ({"scale": [5, 1]}, ["reward.scale", "[1, 10]"]),
        ({"against": "chosen"}, ["reward.against", "mode=pairwise"]),
        ({"request": {"n": 2}}, ["reward.request.n"]),
    ],
    ids=str,
)
def test_mistakes_are_told_without_what_is_secret(changes: Any, parts: list[str]) -> None:
    """A run that begins and fails at its first reward; a key pasted in the wrong place, printed."""
    problems = wrong(Judge, "judge", **changes)
    text = "\n".join(map(str, problems))
    assert len(problems) == 1 and [words for words in parts if words not in text] == [], text
    assert "pass-word" not in text


def test_a_constitution_shows_what_it_compares() -> None:
    """A judge that is asked to compare by principles that it is not shown."""
    (problem,) = wrong(Constitution, "constitution", rubric="{first} or {second}?")
    assert problem.key == "reward.rubric" and "{principles}" in problem.got
    assert wrong(Constitution, "constitution", principles=[" "])[0].key == "reward.principles"


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "judge_token", "X_SECRET", "MY_CREDENTIALS", "PASSWD"]
)
def test_a_variable_that_is_accepted_is_hidden_everywhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the judge takes and the redaction does not know."""
    assert HIDDEN_VARIABLE.fullmatch(name)
    monkeypatch.setenv(name, "a-value-in-a-log")
    assert "a-value-in-a-log" not in redacted("error: a-value-in-a-log")


AT = ["reward.base_url=http://127.0.0.1:9/v1", "reward.model=m"]
EVAL = ["+reward@eval.judge=judge", "eval.judge.base_url=http://127.0.0.1:9/v1"]


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["reward=judge"], {"reward.base_url", "reward.model"}),
        (["reward=constitution", *AT, "eval=quick"], {"eval.completions"}),
        (["reward=constitution", *AT, "algo=ppo"], {"algo"}),
        (EVAL, {"eval.judge.model"}),
        (
            [*EVAL, "eval.judge.model=m", "eval.judge.api_key_env=NO_KEY"],
            {"eval.judge.api_key_env"},
        ),
        (
            [*EVAL, "eval.judge.model=m", "eval.judge.pair_rubric='{first}{second}{x}'"],
            {"eval.judge"},
        ),
        (["+reward@eval.judge=length"], {"eval.judge._target_"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_before_anything_is_loaded(overrides: list[str], keys: set[str]) -> None:
    """A judge that is found out to be no judge when the training is over."""
    with pytest.raises(UserError) as caught:
        spec_of(*overrides)
    assert {problem.key for problem in caught.value.problems} == keys, str(caught.value)
