"""What a file's columns mean: kinds, names, messages, dialogues, labels and cut texts."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from data_specs import data_spec, problems_of

from rlexp.data.load import load_data
from rlexp.data.parsing.truncation import split_prefix
from rlexp.spec.data import KIND_COLUMNS

USER = {"role": "user", "content": "Say something."}
GOOD = {"role": "assistant", "content": "Something."}
BAD = {"role": "assistant", "content": "No."}


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def rows_of(tmp_path: Path, *records: dict[str, Any], **config: Any) -> list[dict[str, Any]]:
    path = write_jsonl(tmp_path / "rows.jsonl", list(records))
    return data_spec("file", path=path, **config).read().train


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"prompt": "p"}, "prompts"),
        ({"prompt": "p", "answer": "18"}, "prompts"),
        ({"prompt": "p", "completion": "c"}, "demonstrations"),
        ({"prompt": "p", "completion": "c", "label": True}, "unpaired"),
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, "pairs"),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, "pairs"),
        ({"text": "a b c d e f"}, "demonstrations"),
        ({"text": "a b c d e f", "label": 0}, "unpaired"),
    ],
)
def test_kind_follows_from_the_columns(tmp_path: Path, record: dict[str, Any], kind: str) -> None:
    """Catches: a kind whose rows lack a column that the algorithm is promised."""
    spec = data_spec("file", path=write_jsonl(tmp_path / "rows.jsonl", [record]))
    assert spec.kind() == kind
    (row,) = spec.read().train
    assert set(KIND_COLUMNS[spec.kind()]) <= set(row)


def test_named_columns_decide_where_several_sets_fit(tmp_path: Path) -> None:
    """Catches: a column that the user named being passed over for one that happens to be there."""
    record = {"prompt": "p", "completion": "c", "text": "a b c d e f", "answer": "18"}
    path = write_jsonl(tmp_path / "rows.jsonl", [record])
    spec = data_spec("file", path=path, columns={"text": "text"}, extra=["answer"])
    (row,) = spec.read().train
    assert row["opening"] + row["completion"] == "a b c d e f"
    assert spec.extra_columns() == {"answer"} and row["answer"] == "18"


def test_a_column_may_be_answer_and_reward_column_at_once(tmp_path: Path) -> None:
    """Catches: the reference answer lost to the reward because the completion has it."""
    (row,) = rows_of(
        tmp_path,
        {"question": "1+1?", "answer": "#### 2", "id": 7},
        columns={"prompt": "question", "completion": "answer"},
        extra=["answer"],
    )
    assert row == {"prompt": "1+1?", "completion": "#### 2", "answer": "#### 2"}


def test_all_further_columns_are_kept_by_default(tmp_path: Path) -> None:
    """Catches: a reward that cannot find a column that the file has."""
    (row,) = rows_of(tmp_path, {"prompt": "p", "level": 3, "topic": None})
    assert row == {"prompt": "p", "level": 3, "topic": None}


def test_whole_dialogues_share_their_prompt(tmp_path: Path) -> None:
    """Catches: the prompt repeated in the answers, and pairs whose answers answer other prompts."""
    apart = {"chosen": [{"role": "user", "content": "Other."}, GOOD], "rejected": [USER, BAD]}
    equal = {"chosen": [USER, GOOD], "rejected": [USER, GOOD]}
    pair = {"chosen": [USER, GOOD], "rejected": [USER, BAD]}
    path = write_jsonl(tmp_path / "rows.jsonl", [pair, apart, equal])
    rows = data_spec("file", path=path).read()
    assert rows.train == [{"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}]
    assert rows.notes == [
        "rows dropped because the two dialogues do not answer the same prompt: 1",
        "rows dropped because the two answers are equal: 1",
    ]


def test_raw_dialogues_are_parsed_into_turns(tmp_path: Path) -> None:
    """Catches: a turn split at a `Human:` in mid-sentence, or spaces left at a turn's ends.

    Raw dialogues are known by their first row; nobody has to say so.
    """
    before = '\n\nHuman: Who is "Human: 2"?\n\nAssistant: A film.\n\nHuman: Really?'
    record = {"chosen": f"{before}\n\nAssistant: Yes. ", "rejected": f"{before}\n\nAssistant: No."}
    (row,) = rows_of(tmp_path, record)
    assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"]
    assert row["prompt"][0]["content"] == 'Who is "Human: 2"?'
    assert row["chosen"] == [{"role": "assistant", "content": "Yes."}]


def test_answers_without_prompt_say_how_to_read_them(tmp_path: Path) -> None:
    """Catches: raw dialogues trained on as if they were answers to an empty prompt."""
    record = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    path = write_jsonl(tmp_path / "rows.jsonl", [record])
    (problem,) = problems_of(data_spec("file", path=path, dialogues=False))
    assert problem.key == f"{path}:1" and "data.dialogues=true" in problem.remedy
    path = write_jsonl(tmp_path / "plain.jsonl", [{"chosen": "b", "rejected": "c"}])
    (problem,) = problems_of(data_spec("file", path=path, dialogues=True))
    assert problem.key == f"{path}:1" and "data.dialogues=false" in problem.remedy


def test_prompt_and_answers_end_up_in_one_form(tmp_path: Path) -> None:
    """Catches: TRL given a string prompt with message answers, or the prompt twice."""
    wanted = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}
    question = USER["content"]
    mixed = [
        {"prompt": question, "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": question, "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": GOOD["content"], "rejected": BAD["content"]},
    ]
    assert rows_of(tmp_path, *mixed) == [wanted] * 3


def test_a_prompt_must_wait_for_an_answer(tmp_path: Path) -> None:
    """Catches: sampling a turn after the assistant's own."""
    path = write_jsonl(tmp_path / "rows.jsonl", [{"prompt": [USER]}, {"prompt": [USER, GOOD]}])
    (problem,) = problems_of(data_spec("file", path=path))
    assert problem.key == f"{path}:2" and "assistant" in problem.got


def test_labels_in_every_spelling(tmp_path: Path) -> None:
    """Catches: bool("0") being true, and words read as true because they are not empty."""
    path = tmp_path / "labels.csv"
    values = ["1", "0", "True", "false", "good", "bad", "5"]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("text", "label"), *(("a b c d e f", value) for value in values)]
        )
    labels = {"good": True, "bad": False, 5: True}
    rows = data_spec("file", path=str(path), labels=labels).read().train
    assert [row["label"] for row in rows] == [True, False, True, False, True, False, True]


def test_parquet_and_csv_give_the_rows_of_jsonl(tmp_path: Path) -> None:
    """Catches: a byte order mark in a column's name, and formats that differ in what they read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [{"prompt": f"Sagt „Hallo“ {n}?", "completion": 'a, "b"\nc'} for n in range(3)]
    jsonl = write_jsonl(tmp_path / "rows.jsonl", records)
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "rows.parquet")
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    expected = data_spec("file", path=jsonl).read().train
    assert expected == records
    for name in ("rows.csv", "rows.parquet"):
        assert data_spec("file", path=str(tmp_path / name)).read().train == expected


def test_texts_are_cut_without_loss_and_evenly() -> None:
    """Catches: spaces lost at the cut, lengths out of range, or a length that is never drawn."""
    texts = [f"one  two three\tfour five six number {n}." for n in range(600)]
    counts = []
    for text in texts:
        opening, rest = split_prefix(text, (3, 5)) or ("", "")
        assert opening + rest == text and rest.startswith((" ", "\t"))
        assert opening == opening.strip()
        counts.append(len(opening.split()))
    # Each of the three lengths is binomial(600, 1/3): 200 +- 11.5; four deviations either way.
    assert all(150 < counts.count(length) < 250 for length in (3, 4, 5))


def test_space_around_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    """Catches: prompts that begin with a line break, which no other prompt of a model does."""
    (row,) = rows_of(tmp_path, {"text": "\n one two three four \n"})
    assert (row["prompt"], row["completion"]) == ("one two three", " four")


def test_short_texts_keep_a_word_to_write() -> None:
    """Catches: an empty completion, or texts dropped that can still be cut."""
    assert split_prefix("one two three", (3, 5)) is None
    for n in range(50):
        opening, rest = split_prefix(f"one two three {n}", (3, 5)) or ("", "")
        assert (opening, rest) == ("one two three", f" {n}")


def test_only_texts_too_short_to_cut(tmp_path: Path) -> None:
    """Catches: a run without rows, and a message that does not say where they went."""
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "too short"}] * 3)
    (problem,) = problems_of(data_spec("file", path=path))
    assert "without usable rows" in problem.got and "opening of 3 words: 3" in problem.remedy


def test_reviews_are_whole_and_labelled_by_their_class() -> None:
    """Catches: mixed reviews labelled good, or texts that the grammar does not know once cut."""
    from rlexp.builtin.grammar import sample_reviews

    spec = data_spec("reviews", size=300)
    rows = load_data(spec, "unpaired")
    made = {review.text: review.label for review in sample_reviews(300, seed=0)}
    assert len(rows.train) + len(rows.heldout) == 300
    assert all(spec.grammatical(text) == 1 for text in rows.texts)
    for row in rows.train:
        text = row["opening"] + row["completion"]
        assert row["label"] == (made[text] == "positive")
