"""Asking an endpoint: what is sent, kept, sent again and given up."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer, judge_at, served

from rlexp.rewards.judging.answer_cache import cache_file, cache_key, take_turn
from rlexp.rewards.judging.usage import usage
from rlexp.spec.errors import RunFailed, UserError

SECRET = "k3y-that-nobody-may-see"
TEXTS = ["bad", "good", "good good", "so good, good, good, good"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    """A stand-in, and a cache of the test's own."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    with served() as judge:
        yield judge


def scored(server: JudgeServer, texts: list[str] = TEXTS, **knobs: Any) -> list[float | None]:
    return judge_at(server.url, **{"scale": [1, 5], **knobs})(["Say"] * len(texts), [*texts])


def billed(before: Any) -> dict[str, float]:
    now = usage().metrics()
    return {name.removeprefix("perf/judge_"): now[name] - old for name, old in before.items()}


def test_scores_are_the_judges_between_0_and_1(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that lands at another completion; a key, model or field that is not sent."""
    monkeypatch.setenv("MY_JUDGE_KEY", SECRET)
    request = {"temperature": 0.5, "max_tokens": None, "seed": 3}
    assert scored(server, api_key_env="MY_JUDGE_KEY", request=request) == [0, 0.25, 0.5, 1]
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    assert sorted(server.questions) == sorted(f"Score by 1 to 5 <{text}>" for text in TEXTS)
    assert [
        {name: value for name, value in body.items() if name != "messages"} for body in server.asked
    ] == [{"model": "stand-in", "temperature": 0.5, "seed": 3}] * 4


def test_what_was_answered_is_not_asked_again(server: JudgeServer) -> None:
    """The same command that gives other numbers, or costs again."""
    server.rule = lambda question: f"Score: {1 + len(server.asked) % 5}"  # never the same
    before = usage().metrics()
    first = scored(server, [*TEXTS, "good", "good"])
    assert len(server.asked) == len(TEXTS)  # of equal questions one
    assert first[1] == first[4] == first[5]
    server.script = [500] * 99
    assert scored(server, [*reversed(TEXTS)]) == first[3::-1]
    assert len(server.asked) == len(TEXTS)
    assert billed(before)["requests"] == 4 and billed(before)["cached"] == 4


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"},
        {"request": {"temperature": 1.0}},
        {"rubric": "Other <{completion}>"},
        {"scale": [0, 5]},
    ],
    ids=str,
)
def test_all_that_matters_makes_another_question(server: JudgeServer, change: Any) -> None:
    """An answer from the cache that another judge gave, or to another question."""
    scored(server, ["good"])
    scored(server, ["good"], **change)
    assert len(server.asked) == 2


def test_another_address_is_another_judge(server: JudgeServer) -> None:
    """The same model's name at two endpoints may be two models."""
    scored(server, ["good"])
    with served() as other:
        scored(other, ["good"])
        assert len(other.asked) == 1


def test_the_cache_holds_neither_prompts_nor_keys(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private text or a key that outlives the run in a file that nobody thinks of."""
    monkeypatch.setenv("MY_JUDGE_KEY", SECRET)
    server.rule = lambda question: f"With {SECRET} the score: 2"  # some repeat what they are sent
    assert scored(server, ["a private text"], api_key_env="MY_JUDGE_KEY") == [0.25]
    content = cache_file().read_bytes()
    assert b"With *** the score: 2" in content
    assert SECRET.encode() not in content and b"private" not in content


def test_a_busy_or_broken_server_is_asked_again(server: JudgeServer) -> None:
    """A run of a night that ends with the first 429, 503, cut line or silence."""
    silence = threading.Event()
    server.script = [429, 500, 503, silence]
    before = usage().metrics()
    assert scored(server, ["good good"], timeout=0.3) == [0.5]
    silence.set()
    assert len(server.asked) == 5
    assert billed(before)["retries"] == 4 and billed(before)["requests"] == 1


def test_a_success_without_an_answer_is_no_answer(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's page with status 200 that is taken for a refusal, or ends in a traceback."""
    pages = ["<html>wait</html>", "{}", '{"choices": []}', "[]"]
    reply = server.reply

    def sometimes(*request: Any) -> tuple[int, str]:
        status, text = reply(*request)
        return (200, pages.pop()) if pages else (status, text)

    monkeypatch.setattr(server, "reply", sometimes)
    assert scored(server, ["good"]) == [0.25]
    assert len(server.asked) == 5


def test_a_dead_server_is_told_of(server: JudgeServer) -> None:
    """A judge that does not answer and counts as 0, or as nothing; and answers that are lost."""
    server.script = [lambda question: "Score: 3"]
    assert scored(server, ["first"], requests_at_once=1) == [0.5]
    server.script = [lambda question: "Score: 4", *[500] * 9]
    with pytest.raises(UserError) as caught:
        scored(server, ["second", "third"], requests_at_once=1, tries=3)
    (problem,) = caught.value.problems
    assert problem.key == "reward.base_url" and server.url in problem.got
    assert "3 tries: status 500" in problem.got
    for remedy in ("reward.requests_at_once", "reward.timeout", "python -m rlexp resume FOLDER"):
        assert remedy in problem.remedy
    assert len(server.asked) == 5
    server.script = []
    assert scored(server, ["first", "second"]) == [0.5, 0.75]
    assert len(server.asked) == 5


@pytest.mark.parametrize(("status", "key"), [(401, "reward.api_key_env"), (404, "reward.base_url")])
def test_a_refusal_is_not_repeated(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, status: int, key: str
) -> None:
    """Minutes of retries for a wrong key, which the server's own words then publish."""
    monkeypatch.setenv("MY_JUDGE_KEY", SECRET)
    server.script = [status] * 9
    with pytest.raises(UserError) as caught:
        scored(server, ["good"], api_key_env="MY_JUDGE_KEY")
    assert len(server.asked) == 1
    (problem,) = caught.value.problems
    assert problem.key == key and key in problem.remedy
    assert f"status {status}" in str(caught.value) and SECRET not in str(caught.value)


def test_a_refused_text_fails_by_itself(server: JudgeServer) -> None:
    """One text that is too long for the judge, told as if the endpoint were wrong."""
    server.script = [400]
    with pytest.raises(RunFailed, match="status 400"):
        scored(server, ["good"])


def test_a_refusal_does_not_wait_for_one_who_hangs(server: JudgeServer) -> None:
    """Ctrl-C or a wrong key that takes effect when the slowest request has timed out."""
    hangs = threading.Event()
    server.script = [hangs, 401]
    with pytest.raises(UserError, match="401"):
        scored(server, ["good", "bad"], requests_at_once=2, timeout=59)
    assert not hangs.is_set()
    hangs.set()


def test_who_hangs_is_given_up(server: JudgeServer) -> None:
    """Ctrl-C that waits in another thread until all tries have timed out."""
    hangs = threading.Event()
    server.script = [hangs] * 9
    judge = judge_at(server.url, timeout=59)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(judge, ["Say"], ["good"])
        while not server.asked:
            hangs.wait(0.01)
        judge.give_up()
        with pytest.raises(KeyboardInterrupt):
            future.result()
        assert not hangs.is_set()
        hangs.set()


def test_nonsense_is_asked_again_and_then_missing(server: JudgeServer) -> None:
    """A bad answer that counts as 0, the worst score there is."""
    server.script = ["Lovely!", "Score: 99", "What?", "Score: 3"]
    before = usage().metrics()
    scores = scored(server, ["a", "b"], requests_at_once=1)
    assert scores == [None, 0.5]
    reminder = "Answer with a number from 1 to 5 alone."
    assert [text.endswith(reminder) for text in server.questions] == [False, False, True, True]
    assert billed(before)["unreadable"] == 3 and billed(before)["unanswered"] == 1
    assert scored(server, ["a", "b"]) == scores
    assert len(server.asked) == 4


def test_a_number_that_was_cut_off_is_none(server: JudgeServer) -> None:
    """`Score: 1` of a judge who was about to say 10."""
    server.finish_reason = "length"
    assert scored(server, ["good"], asks=1) == [None]
    server.rule = lambda question: "Score: 2. It is"
    assert scored(server, ["good good"], asks=1) == [0.25]


def test_as_many_requests_at_once_as_allowed(server: JudgeServer) -> None:
    """Requests one after the other, or all of a batch at the same time."""
    server.meet = threading.Barrier(3)  # would wait for ever for a third that never comes
    scored(server, [f"text {index}" for index in range(9)], requests_at_once=3)
    assert server.most_under_way == 3


def test_turns_are_shared_by_all_who_ask(server: JudgeServer) -> None:
    """A limit for each thread or process, which together are far above it."""
    waits: list[float] = []
    threads = [
        threading.Thread(target=lambda: waits.append(take_turn("http://one", 1))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([0, 60, 120, 180], abs=30)
    assert take_turn("http://another", 1) == 0
    assert scored(server, ["good"], requests_a_minute=60_000) == [0.25]


def test_the_bill(server: JudgeServer) -> None:
    """Prices of a thousand tokens for those of a million, or of input for output."""
    before = usage().metrics()
    scored(server, prices={"input": 1e6, "output": 5e6})
    bill = billed(before)
    assert (bill["input_tokens"], bill["output_tokens"]) == (40, 8)
    assert bill["cost"] == pytest.approx(40 * 1 + 8 * 5)


def test_nothing_secret_in_a_log(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library's own logging, which shows requests when somebody debugs."""
    monkeypatch.setenv("MY_JUDGE_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    scored(server, ["good"], api_key_env="MY_JUDGE_KEY")
    assert "127.0.0.1" in caplog.text and SECRET not in caplog.text


def test_a_cache_key_knows_no_order() -> None:
    """A config written in another order that pays again."""
    question = {"a": 1, "b": {"c": "好", "d": "\ud800"}}
    reordered = json.loads(json.dumps({"b": {"d": "\ud800", "c": "好"}, "a": 1}))
    assert cache_key(question) == cache_key(reordered) != cache_key({**question, "a": 2})
