"""What was done to rows is said and counted, and what they keep.

Each entry of a table is a record (or several), what is set of `data`, and what must come of it.
"""

from pathlib import Path

import pytest
from forms import ANSWERED, ASKED, SHARED, Record, assistant, call, spec_of, user

from rlexp.data.load import load_data

NOTES: dict[str, tuple[list[Record], str]] = {
    "left out": (
        [{"prompt": "q", "topic": "t", "id": 1}],
        "columns that only rewards may read, being no part of prompt or answer: topic, id. ",
    ),
    "earlier answers": (
        [{"messages": [*ASKED, assistant("x"), user("y"), *ANSWERED]}],
        "conversations with earlier answers, of which the last alone is learnt from: 1",
    ),
    "no answer": (
        [{"messages": [*ASKED, *ANSWERED]}, {"messages": [*ASKED, *ANSWERED, user("bye")]}],
        "rows dropped because a conversation ends without an answer (the user's turn): 1",
    ),
    "not to be trained": (
        [{"messages": [*ASKED, assistant("a", train=False)]}],
        "rows dropped because the last answer is marked as not to be trained on: 1",
    ),
    "equal but for space": (
        [{"prompt": "q", "chosen": "a", "rejected": "a \n"}],
        "rows dropped because the two answers are equal: 1",
    ),
    "equal turns but for space": (
        [{"prompt": ASKED, "chosen": ANSWERED, "rejected": [assistant(" a")]}],
        "rows dropped because the two answers are equal: 1",
    ),
    "no difference": (
        [
            {
                "instruction": "i",
                "completions": [{"text": "a", "score": 1}, {"text": "b", "score": 1}],
            }
        ],
        "rows dropped because its answers do not differ in their scores: 1",
    ),
    "a system beside whole texts": (
        [{"text": "one two three four five", "system": "S"}],
        "columns that only rewards may read, being no part of prompt or answer: system.",
    ),
    "others' words": (
        [{"prompt": ASKED, "completion": [assistant("x"), user("y"), *ANSWERED]}],
        "answers of several turns, others' among them, all of which are learnt from: 1",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_was_done_is_said_and_counted(tmp_path: Path, name: str) -> None:
    """Catches: rows or columns that go without a word."""
    records, note = NOTES[name]
    assert any(line.startswith(note) for line in spec_of(tmp_path, *records).read().notes)


def test_columns_that_the_config_names_are_not_noted(tmp_path: Path) -> None:
    """Catches: a note that its own remedy does not silence."""
    assert spec_of(tmp_path, {"prompt": "q", "topic": "t"}, extra=["topic"]).read().notes == []


REPEATED = "Tell me about the lamp."


@pytest.mark.parametrize(
    ("records", "completions", "cut"),
    [
        ([(REPEATED, f"{REPEATED} It is old.")], [" It is old."], 1),
        ([(REPEATED, f"\n{REPEATED}\nOld.")], ["\nOld."], 1),
        ([("Hi", "Hi, what is it?"), ("q", "a"), ("r", "b")], ["Hi, what is it?", "a", "b"], 0),
        ([("Hi", "Hi a"), ("Yo", "Yo b"), ("r", "c")], [" a", " b", "c"], 2),
        ([("The plot of the film", "The plot of the films")], ["The plot of the films"], 0),
        ([(REPEATED, REPEATED)], [REPEATED], 0),
    ],
)
def test_answers_lose_the_prompt_that_they_repeat(
    tmp_path: Path, records: list[tuple[str, str]], completions: list[str], cut: int
) -> None:
    """Catches: the prompt trained on as if it were answered, and greetings taken for repeats."""
    rows = [{"prompt": prompt, "completion": answer} for prompt, answer in records]
    read = spec_of(tmp_path, *rows).read()
    assert [row["completion"] for row in read.train] == completions
    notes = [f"answers that began with their prompt, which was taken off: {cut}"] if cut else []
    assert read.notes == notes


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    """Catches: places that shift where a row is dropped."""
    rows = spec_of(
        tmp_path, {"messages": [*ASKED, *ANSWERED]}, {"messages": ASKED}, {"messages": SHARED}
    ).read()
    assert [place.rpartition(":")[2] for place in rows.places] == ["1", "3"]
    assert len(rows.train) == 2


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (1.0, True),
        (0.0, False),
        ("1.0", True),
        ("0.0", False),
        ("yes", True),
        ("No", False),
        ("TRUE", True),
        (" False ", False),
        (True, True),
        (0, False),
        (2.0, True),
        ("2", True),
        ("good", True),
    ],
)
def test_labels_as_people_write_them(tmp_path: Path, value: object, meaning: bool) -> None:
    """Catches: a 0/1 column that gaps turned into floats refused, or read as true throughout."""
    record = {"prompt": "q", "completion": "a", "label": value}
    (row,) = spec_of(tmp_path, record, labels={2: True, "good": True}).read().train
    assert row["label"] is meaning


def test_a_reference_is_kept_for_rewards_under_its_own_name(tmp_path: Path) -> None:
    """Catches: the column that a reward reads called absent because it is the answer as well, and
    a digest that tells a stored run's data from the same data of today."""
    records = [{"question": f"q{n}", "answer": f"#### {n}"} for n in range(60)]
    columns = {"prompt": "question", "completion": "answer"}
    spec = spec_of(tmp_path, *records, columns=columns)
    splits = load_data(spec, "prompts")
    assert spec.extra_columns() == {"answer"}
    assert all(row["answer"].startswith("#### ") for row in [*splits.train, *splits.heldout])
    bare = load_data(spec_of(tmp_path, *records, columns=columns, extra=[]), "prompts")
    assert splits.digest == bare.digest


def test_extra_columns_need_no_one_type(tmp_path: Path) -> None:
    """Catches: Arrow's one type a column, which raises or fills calls with others' arguments."""
    from datasets import Dataset

    values = [1, "a", None, {"k": [1]}]
    calls = [{"prompt": ASKED, "completion": [call(**{name: 1})]} for name in ("x", "y", "z", "w")]
    records = [{**row, "level": value} for row, value in zip(calls, values, strict=True)]
    rows = spec_of(tmp_path, *records).read().train
    table = Dataset.from_list(rows, on_mixed_types="use_json")
    assert [table[n] for n in range(4)] == rows
