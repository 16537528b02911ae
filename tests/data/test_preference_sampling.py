"""Preference pairs and labelled answers that are sampled and scored by a reward."""

from collections.abc import Sequence
from typing import Any

import pytest

from rlexp.data.derived.preference_sampling import sample_rows
from rlexp.spec.errors import RunFailed
from rlexp.spec.policy import Completion
from rlexp.spec.reward import DataColumns, Text


def answering(*groups: list[str]) -> Any:
    """A policy with these answers to each prompt; those that end in … were cut."""

    def complete(prompts: Sequence[Text]) -> list[list[Completion]]:
        assert len(prompts) == len(groups)
        return [
            [Completion(text, [1], [2], ended=not text.endswith("…")) for text in group]
            for group in groups
        ]

    return complete


def by_length(prompts: list[Text], answers: list[Text], columns: DataColumns) -> list[float]:
    assert len(prompts) == len(answers)
    assert all(len(values) == len(answers) for values in columns.values())
    texts = [answer if isinstance(answer, str) else answer[0]["content"] for answer in answers]
    return [
        len(text) + bonus
        for text, bonus in zip(texts, columns.get("bonus", [0] * len(texts)), strict=True)
    ]


def test_best_and_worst_of_the_ended_answers() -> None:
    """Catches: a cut answer in a pair, scores that slip to the neighbouring prompt's answers, and
    columns that are not repeated for each answer."""
    rows = [
        {"prompt": p, "opening": p, "bonus": b} for p, b in zip("abcd", (0, 9, 0, 0), strict=True)
    ]
    complete = answering(
        ["much too long…", "mid", "longest", "x"], ["one", "one"], ["alone", "…"], ["aa", "a"]
    )
    pairs, note = sample_rows("pairs", rows, complete, by_length)
    assert pairs == [
        {**rows[0], "chosen": "longest", "rejected": "x"},
        {**rows[3], "chosen": "aa", "rejected": "a"},
    ]
    assert note == (
        "2 pairs sampled from 4 prompts (fewer than two answers: 1; "
        "equal rewards only: 1); mean reward 4.500 chosen, 1.000 rejected"
    )


def test_answers_without_a_reward_are_in_no_pair() -> None:
    """Catches: None that is compared with a number, a rejected answer without a reward, a prompt
    of which one scored answer is left."""
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    complete = answering(["no score", "long", "?", "x"], ["no score", "alone"])

    def score(prompts: list[Text], answers: list[Text], columns: Any) -> list[float | None]:
        return [None if answer in ("no score", "?") else float(len(answer)) for answer in answers]

    pairs, note = sample_rows("pairs", rows, complete, score)
    assert pairs == [{"prompt": "a", "chosen": "long", "rejected": "x"}]
    assert "(fewer than two answers: 1; equal rewards only: 0; answers without a reward: 3)" in note


def test_cut_answers_end_with_a_sentence_and_only_for_want_of_others() -> None:
    """Catches: no pair from a base model that never ends by itself, an end token taught in the
    middle of a sentence, a decimal point taken for a full stop."""
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    cut = ["It cost 3.5 euros. Then…", 'She said "No!" and he…', "nothing ends here…"]
    complete = answering(cut, ["Long and whole", "short", "Cut. Off…"])
    pairs, note = sample_rows("pairs", rows, complete, by_length)
    assert [(pair["chosen"], pair["rejected"]) for pair in pairs] == [
        ("It cost 3.5 euros.", 'She said "No!"'),
        ("Long and whole", "short"),
    ]
    assert "2 answers were cut at the limit and end with their last full sentence" in note


def test_answers_to_messages_are_messages() -> None:
    """Catches: TRL given a conversation with bare strings as answers."""
    conversation = [{"role": "user", "content": "Hello"}]
    pairs, _ = sample_rows(
        "pairs", [{"prompt": conversation}], answering(["Hi", "Hello"]), by_length
    )
    assert pairs[0]["chosen"] == [{"role": "assistant", "content": "Hello"}]
    assert pairs[0]["rejected"] == [{"role": "assistant", "content": "Hi"}]


@pytest.mark.parametrize("answers", [["cut…", "off…"], ["same", "size"]])
def test_no_pair_at_all_ends_the_run(answers: list[str]) -> None:
    """Catches: training on nothing, or a division by zero in place of a reason."""
    with pytest.raises(RunFailed, match=r"data\.max_completion_length"):
        sample_rows("pairs", [{"prompt": "p"}], answering(answers), by_length)


def test_answers_are_labelled_by_their_prompts_mean() -> None:
    """Catches: labels by the mean over all prompts, which would call every answer to a hard prompt
    bad; a label for an answer that is neither; cut answers among the good ones."""
    rows = [{"prompt": "easy", "bonus": 100}, {"prompt": "hard", "bonus": 0}]
    complete = answering(["a", "aaa", "aa", "much too long…"], ["b", "bb"])
    rows_made, note = sample_rows("unpaired", rows, complete, by_length)
    labels = {row["completion"]: row["label"] for row in rows_made}
    assert labels == {"a": False, "aaa": True, "b": False, "bb": True}
    assert all(row["bonus"] == 100 * (row["prompt"] == "easy") for row in rows_made)
    assert note == (
        "4 unpaired sampled from 2 prompts (fewer than two answers: 0; equal rewards only: 0)"
        "; 2 good, mean reward 52.500; 2 bad, 51.000"
    )
