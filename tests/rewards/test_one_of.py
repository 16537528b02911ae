"""`reward=one_of`: the right one of several answers, and what is tried in its place."""

from __future__ import annotations

from reward_specs import mistakes, reward

COLOURS = ["red", "blue", "light blue"]


def values(*completions: str, answer: str = "blue") -> list[float | None]:
    graded = reward("one_of", choices=COLOURS, choices_column=None)
    rows = len(completions)
    return graded(["Is it red or blue?"] * rows, list(completions), answer=[answer] * rows)


def test_an_answer_counts_in_a_word_or_a_sentence() -> None:
    assert values("blue", "Blue.", "It is BLUE, I think.") == [1.0, 1.0, 1.0]


def test_lists_echoes_and_constants_earn_nothing() -> None:
    """The cheap ways: all answers, the question, one answer to all, parts of words, silence."""
    cheap = ["red, blue", "Is it red or blue?", "red", "blueish", "", "<think>blue</think> red"]
    assert values(*cheap) == [0.0] * len(cheap)


def test_a_sentence_of_the_prompt_is_no_answer() -> None:
    """The echo of a question that names the answer alone: it would be paid for reading nothing."""
    graded = reward("one_of", choices=COLOURS, choices_column=None)
    prompt = "Tom has a red hat. What colour is the hat?"
    texts = [
        "Tom has a red hat.",
        prompt,
        "a red hat",
        "Red",
        "Tom's hat is red.",
        "The hat is red",
    ]
    values = graded([prompt] * 6, texts, answer=["red"] * 6)
    assert values == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_the_longer_of_two_choices_is_meant() -> None:
    """`light blue`, in which `blue` stands as well."""
    assert values("light  Blue", answer="light blue") == [1.0]
    assert values("light blue", "blue") == [0.0, 1.0]


def test_each_row_may_have_its_own_choices() -> None:
    graded = reward("one_of")
    columns = {"answer": ["Tom", "Ben", None], "choices": [["Tom", "Ann"], ["Ben", "Tom"], []]}
    assert graded(["?"] * 3, ["Tom"] * 3, **columns) == [1.0, 0.0, None]
    assert graded.columns() == {"answer", "choices"}


def test_rows_that_nothing_could_answer_are_told() -> None:
    graded = reward("one_of")
    columns = {"answer": ["Tom", "Tom", None], "choices": [["Ann", "Ben"], ["Tom"], []]}
    assert [index for index, _ in graded.row_problems(columns)] == [0, 1]


def test_choices_are_known_in_one_way() -> None:
    assert "reward.choices_column" in mistakes("one_of", choices=["a", "b"])
    assert "reward.choices_column" in mistakes("one_of", choices_column=None)
