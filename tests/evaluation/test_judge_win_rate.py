"""The win rate by judge, alone and in a run whose reward is a judge as well."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import PAIR, JudgeServer, knobs, served
from runs import SMALL, run_here
from small_evaluation import SPEC
from some_card import SOUND, card, evaluation, shown

from rlexp.evaluation.judge_win_rate import check_judge_answers, judge_win_rate
from rlexp.spec.errors import UserError
from rlexp.spec.eval import EvalSpec

SECRET = "k3y-that-nobody-may-see"
TEXTS = ["good", "bad", "so so", "good good"]
BETTER = ["good good", "good", "so so", "bad"]
ROWS = [{"prompt": f"prompt {index}"} for index in range(len(TEXTS))]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    """A stand-in, and a cache of the test's own."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    with served() as judge:
        yield judge


def spec_at(server: JudgeServer, **changes: Any) -> EvalSpec:
    fields = knobs("judge", server.url, pair_rubric=PAIR, request={"temperature": 0})
    judge = {"_target_": "rlexp.rewards.judge.Judge", **fields}
    return EvalSpec(**{"gold": {}, **SPEC, "completions": 2, "judge": judge, **changes})


def looked(texts: list[str]) -> Any:
    """An evaluation with two completions a prompt, of which the second is never compared."""
    found = evaluation(SOUND, rewards=(0.0,) * 2 * len(texts))
    said = [each for text in texts for each in (text, "good good good")]
    for sample, text in zip(found.samples, said, strict=True):
        object.__setattr__(sample, "completion", text)
    return found


def test_the_win_rate_counts_wins_and_half_of_ties(server: JudgeServer) -> None:
    """Before and after swapped; ties that count as lost; prompts that are shifted."""
    found, note = judge_win_rate(ROWS, looked(TEXTS), looked(BETTER), spec_at(server))
    assert found.metrics == SOUND | {"judge_win_rate": (1 + 1 + 0.5 + 0) / 4}
    low, high = found.intervals["judge_win_rate"]
    assert 0 <= low < 0.625 < high <= 1
    assert "on 4 prompts" in note and "better on 2, worse on 1, neither on 1" in note
    assert len(server.asked) == 2 * 3
    again = judge_win_rate(ROWS, looked(BETTER), looked(TEXTS), spec_at(server))[0]
    assert again.metrics["judge_win_rate"] == 1 - 0.625


def test_a_policy_against_itself_wins_half(server: JudgeServer) -> None:
    """A control that finds a gain where there is none."""
    found, _ = judge_win_rate(ROWS, looked(TEXTS), looked(TEXTS), spec_at(server))
    assert found.metrics["judge_win_rate"] == 0.5
    assert found.intervals["judge_win_rate"] == (0.5, 0.5)


def test_a_bias_for_the_place_is_cancelled_and_told(server: JudgeServer) -> None:
    """A judge that always takes the first, as a gain; or whose verdicts look decided."""
    server.rule = lambda question: "Verdict: A"
    found, note = judge_win_rate(ROWS, looked(TEXTS), looked(BETTER), spec_at(server))
    assert found.metrics["judge_win_rate"] == 0.5
    assert "what stood first won 88%" in note  # 3 pairs of 4: the equal one was not asked about


def test_as_many_prompts_as_asked_for(server: JudgeServer) -> None:
    """A bill for all prompts."""
    judge_win_rate(ROWS, looked(TEXTS), looked(BETTER), spec_at(server, judge_prompts=2))
    assert len(server.asked) == 2 * 2


def test_unreadable_answers_are_left_out(server: JudgeServer) -> None:
    """A judge that says nothing, as one that finds all things equal."""
    server.rule = lambda question: "Well."
    found, note = judge_win_rate(ROWS, looked(TEXTS), looked(BETTER), spec_at(server))
    assert found.metrics["judge_win_rate"] == 0.5  # the equal pair, which nobody is asked about
    assert "3 prompts without a readable answer" in note
    found, note = judge_win_rate(ROWS[:2], looked(TEXTS[:2]), looked(BETTER[:2]), spec_at(server))
    assert "judge_win_rate" not in {**found.metrics, **found.intervals}


def test_a_wrong_judge_is_found_before_the_training(server: JudgeServer) -> None:
    """Hours of training, and then a wrong key; told under the key of another judge."""
    server.script = [404]
    with pytest.raises(UserError) as caught:
        check_judge_answers(ROWS, looked(TEXTS), spec_at(server))
    (problem,) = caught.value.problems
    assert problem.key == "eval.judge.base_url" and "eval.judge.model" in problem.remedy
    check_judge_answers(ROWS, looked(["good"] * 4), EvalSpec(**{"gold": {}, **SPEC}))


def test_the_card_shows_it() -> None:
    """A win rate that is measured, paid for, and nowhere to be seen."""
    found = card({**SOUND, "judge_win_rate": 0.75})
    assert "Win rate by judge 75%, asked in both orders" in " ".join(shown(found).split())


def by_length(question: str) -> str:
    texts = re.findall(r"<(.*?)>", question, re.DOTALL)
    if len(texts) == 1:
        return f"Score: {1 + len(texts[0]) % 10}"
    return f"Verdict: {'A' if len(texts[0]) > len(texts[1]) else 'B'}"


@pytest.mark.long
def test_a_run_with_judges_costs_once_and_tells_no_secret(
    server: JudgeServer, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that differ when the command is repeated; a bill that nobody sees; a key in a log,
    the spool, MLflow or the cache."""
    monkeypatch.setenv("MY_JUDGE_KEY", SECRET)
    monkeypatch.delenv("RLEXP_CACHE")  # the tiny model stands there
    monkeypatch.setattr(
        "rlexp.rewards.judging.answer_cache.cache_folder", lambda: tmp_path / "cache"
    )
    store = shutil.copy(empty_store, tmp_path / "mlflow.db")
    server.rule = by_length
    command = [
        *(each for each in SMALL if each != "tracking=none"),
        *["tracking=mlflow", f"tracking.uri=sqlite:///{store}", "algo=grpo", "reward=judge"],
        *["+reward@eval.judge=constitution", "eval.judge_prompts=8"],
        *["reward.rubric='Score <{completion}>'", "reward.prices.input=100"],
        "eval.judge.rubric='{principles} <{first}> <{second}>'",
    ]
    for part in ("reward", "eval.judge"):
        command += [f"{part}.base_url={server.url}", f"{part}.model=stand-in"]
        command += [f"{part}.api_key_env=MY_JUDGE_KEY"]
    cards = []
    for name in ("first", "second"):
        before = len(server.asked)
        folder = run_here(tmp_path / name, *command)
        cards.append(json.loads((folder / "card.json").read_text(encoding="utf-8")))
        cards[-1]["asked"] = len(server.asked) - before
    first, second = cards
    assert first["asked"] > 32 and second["asked"] == 0
    assert first["after"]["judge_win_rate"] is not None
    for numbers in ("before", "after", "intervals", "samples"):
        assert first[numbers] == second[numbers]
    assert sum("compared before with after on 8 prompts" in note for note in first["notes"]) == 1
    bills = [note for each in cards for note in each["notes"] if note.startswith("judges: ")]
    assert f"{first['asked']} requests" in bills[0] and "cost" in bills[0]
    assert "judges: 0 requests" in bills[1] and "cost" not in bills[1]
    with sqlite3.connect(store) as database:
        logged = {name for (name,) in database.execute("SELECT DISTINCT key FROM metrics")}
    assert {"eval/judge_win_rate", "perf/judge_cost", "perf/judge_input_tokens"} <= logged
    assert "win rate by judge" in (tmp_path / "first" / "card.html").read_text(encoding="utf-8")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
