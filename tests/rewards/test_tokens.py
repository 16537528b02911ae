"""Rewards that read tokens get those that were sampled, in training and in evaluations alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from reward_specs import mistakes, reward
from tiny_policy import TinyPolicy

from rlexp.algos.common.reward_function import RewardFunction
from rlexp.data.derived.preference_sampling import score_answers
from rlexp.evaluation.policy import score_completions
from rlexp.rewards.mix import Mix
from rlexp.rewards.python import Python
from rlexp.scoring import Scorer
from rlexp.spec.errors import UserError
from rlexp.spec.policy import Completion
from rlexp.trainers.groups import answer_rows

IDS = [[5, 6, 1], [5, 6, 7, 8]]
"""Two answers, of which the second was cut: 1 is the end token."""


def as_words(answers: Any) -> list[list[int]]:
    return [[9] * len(str(answer).split()) + [1] for answer in answers]


def in_tokens(target: int, width: float) -> Any:
    return reward("length", unit="tokens", target=target, width=width)


def test_training_and_evaluation_score_the_same_answer_alike() -> None:
    """A card that measures another length than was trained on; the end token in one alone."""
    policy: Any = TinyPolicy()
    rows = [{"prompt": "w1 w2"}, {"prompt": "w3"}]
    scorer = Scorer(in_tokens(6, 6))
    groups = policy.complete(
        [row["prompt"] for row in rows],
        completions=1,
        max_new_tokens=8,
        temperature=1.0,
        seed=0,
        batch_size=8,
    )
    completions = [group[0] for group in groups]
    shown = score_completions(scorer.held_out(0), rows, completions)

    sampled = [completion.token_ids for completion in completions]
    answers = SimpleNamespace(
        ended=[completion.ended for completion in completions],
        prompts=lambda: [[2], [2]],
        completions=lambda: sampled,
        completion_log_probs=lambda: [[], []],
    )
    policy.roll_out = lambda prompts, **sampling: answers
    trained, _ = answer_rows(policy, rows, 1, {}, RewardFunction(scorer, [1]).draw)
    assert [group.rewards[0] for group in trained] == shown.total
    assert shown.total == [1 - abs(len(one.token_ids) - 6) / 6 for one in completions]


def test_trls_answers_are_cut_where_no_end_token_stands() -> None:
    """TRL gives no word of that; an end token in the middle taken for the end."""
    seen: dict[str, Any] = {}

    class Listens(Python):
        def __call__(self, prompts: Any, completions: Any, **columns: Any) -> Any:
            seen.update(columns)
            return [0.0] * len(completions)

    scorer = Scorer(Listens(name="mine", function="statistics:mean", parallel=False))
    function = RewardFunction(scorer, [1, 2])
    function(["p"] * 2, ["a b", "a b"], completion_ids=IDS, log_extra=print, extra=[3, 4])
    assert seen == {"completion_ids": IDS, "completion_ended": [True, False], "extra": [3, 4]}


def test_written_answers_are_read_by_the_models_tokenizer() -> None:
    """A crash, or a length of 0, for answers that nobody sampled; tokens of a text as it was before
    it was shortened."""
    scorer = Scorer(Mix(name="mix", normalize="none", clip=None, terms=_terms()))
    with pytest.raises(UserError, match="Leave out --no-model"):
        scorer.once(["p"], ["a b c"], {})
    scorer.tokenize = as_words
    assert scorer.once(["p"], ["a b c"], {}).terms["short"] == [1 - 2 / 10]
    cut = Completion("One. Two", [2], [4, 5, 6, 7, 8], False)
    whole = Completion("a", [2], [4, 5, 1], True)
    seen: list[Any] = []

    def score(prompts: Any, answers: Any, columns: Any) -> Any:
        scores = scorer.once(prompts, answers, columns)
        seen.extend(scores.terms["short"])
        return scores.total

    score_answers([{"prompt": "p"}], [[whole, cut]], score)
    assert seen == [1 - 3 / 10, 1 - 4 / 10]  # of "One." two tokens, with the end


def _terms() -> dict[str, Any]:
    knobs = {"target": 6, "width": 10, "unit": "tokens", "shape": "triangular"}
    length = {"_target_": "rlexp.rewards.length.Length", "name": "length", "weight": 1, **knobs}
    other = {"_target_": "rlexp.rewards.repetition.Repetition", "name": "repetition", "ngram": 2}
    return {"short": length, "other": {**other, "weight": 0.0}}


def test_a_function_may_ask_for_tokens(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter of TRL's signature taken for a column that the data lacks."""
    (tmp_path / "counts.py").write_text(
        "def counted(completions, completion_ids, level):\n"
        "    return [len(ids) for ids in completion_ids]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = Python(name="mine", function="counts:counted", parallel=False)
    assert mine.columns() == {"level"} and mine.reads_tokens()
    scorer = Scorer(mine)
    scorer.tokenize = as_words
    assert scorer.once(["p"] * 2, ["a", "a b"], {"level": [0, 0]}).total == [2.0, 3.0]


@pytest.mark.parametrize(
    ("cache", "lengths", "expected"),
    [
        (4, [0, 6, 7, 9, 10, 11], [0.0, 0.0, -0.25, -0.75, -1.0, -1.0]),
        (0.4, [6, 8, 10], [0.0, -0.5, -1.0]),
        (10, [0, 5, 10], [0.0, -0.5, -1.0]),
    ],
)
def test_the_overlong_penalty_is_daposs(cache: Any, lengths: Any, expected: Any) -> None:
    """arXiv:2503.14476, equation 13, at its corners; a share taken for tokens."""
    penalty = reward("overlong", limit=10, cache=cache)
    ids = [[7] * length for length in lengths]
    assert penalty(["p"] * len(ids), ["x"] * len(ids), completion_ids=ids) == pytest.approx(
        expected
    )


def test_a_cache_that_cannot_be() -> None:
    """A penalty that begins below 0 tokens, or divides by 0."""
    assert "reward.cache" in mistakes("overlong", cache=0)
    (problem,) = reward("overlong", limit=10, cache=11).problems()
    assert problem.key == "reward.cache"
