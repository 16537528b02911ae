"""Published data sets, loaded by `datasets` from local copies, and what is said offline."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from data_specs import REAL, data_spec, problems_of

from rlexp.data.load import load_data

DIALOGUE = "\n\nHuman: Hello {n}\n\nAssistant:"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` caches below the test's folder, never in the user's."""
    from datasets import config

    monkeypatch.setattr(config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def copy(folder: Path, record: dict[str, Any], rows: int = 4) -> Path:
    """A copy of a data set: train and test, `{n}` replaced by the row's number."""
    folder.mkdir(parents=True)
    line = json.dumps(record)
    for split in ("train", "test"):
        text = "".join(line.replace("{n}", f"{split} {n}") + "\n" for n in range(rows))
        (folder / f"{split}.jsonl").write_text(text)
    return folder


def test_problems_and_answers_of_gsm8k(tmp_path: Path) -> None:
    """Catches: the reference answer not kept for the reward, or the test split trained on."""
    path = copy(tmp_path / "gsm8k", {"question": "How many {n}?", "answer": "So #### 18"})
    spec = data_spec("gsm8k", path=str(path))
    splits = load_data(spec, "prompts")
    assert splits.train[0] == {"prompt": "How many train 0?", "answer": "So #### 18"}
    assert {row["prompt"] for row in splits.heldout} == {f"How many test {n}?" for n in range(4)}
    assert sorted(splits.texts)[0] == "Question: How many test 0?\nAnswer:\nSo #### 18"
    assert spec.kind() == "demonstrations" and spec.extra_columns() == {"answer"}
    assert splits.source == str(path)
    assert any("no card" in note for note in splits.notes)


def test_dialogues_of_hh_rlhf_in_the_repository_layout(tmp_path: Path) -> None:
    """Catches: another subset's folder read, and rows of a published set that stop a run."""
    pair = {"chosen": f"{DIALOGUE} Hi.", "rejected": f"{DIALOGUE} Go."}
    copy(tmp_path / "hh", {"chosen": "another", "rejected": "subset"})
    copy(tmp_path / "hh" / "harmless-base", pair)
    with (tmp_path / "hh" / "harmless-base" / "train.jsonl").open("a") as stream:
        stream.write(json.dumps({**pair, "chosen": DIALOGUE}) + "\n")
        stream.write(json.dumps({**pair, "chosen": ""}) + "\n")
    splits = load_data(data_spec("hh_rlhf", path=str(tmp_path / "hh")), "pairs")
    assert splits.train[0] == {
        "prompt": [{"role": "user", "content": "Hello train 0"}],
        "chosen": [{"role": "assistant", "content": "Hi."}],
        "rejected": [{"role": "assistant", "content": "Go."}],
    }
    assert splits.notes[:2] == [
        "rows dropped because an answer is empty: 1",
        "rows dropped because a text is empty: 1",
    ]
    assert splits.source == f"{tmp_path}/hh/harmless-base"


def test_messages_of_ultrafeedback_and_texts_of_imdb(tmp_path: Path) -> None:
    """Catches: a yaml whose column names are not those of the set."""
    turns = [{"role": "user", "content": "Hello {n}"}]
    pair = {
        "chosen": [*turns, {"role": "assistant", "content": "Hi."}],
        "rejected": [*turns, {"role": "assistant", "content": "Go."}],
        "score_chosen": 9.0,
        "score_rejected": 1.0,
    }
    ultra = load_data(data_spec("ultrafeedback", path=str(copy(tmp_path / "uf", pair))), "pairs")
    assert set(ultra.train[0]) == {"prompt", "chosen", "rejected"} and len(ultra.train) == 4
    text = {"text": "One of the very best films that {n} has seen.", "label": 1}
    imdb = load_data(data_spec("imdb", path=str(copy(tmp_path / "imdb", text))), "demonstrations")
    assert imdb.train[0]["opening"].startswith("One of the very")
    assert len(imdb.texts) == 4 and "test 0 has seen." in "".join(imdb.texts)


def test_a_column_that_the_yaml_does_not_name_changes_nothing(tmp_path: Path) -> None:
    """Catches: a kind that is known before loading and another one after."""
    record = {"question": "How many {n}?", "answer": "18", "label": 1, "text": "a b c d e f"}
    path = copy(tmp_path / "gsm8k", record)
    splits = load_data(data_spec("gsm8k", path=str(path)), "demonstrations")
    assert set(splits.train[0]) == {"prompt", "completion", "answer"}


def test_what_a_copy_lacks_is_named(tmp_path: Path) -> None:
    """Catches: a traceback of `datasets` for a split, column or folder that is not there."""
    path = str(copy(tmp_path / "imdb", {"text": "one two three four five six", "label": 1}))
    (split,) = problems_of(data_spec("imdb", path=path, heldout_split="validation"))
    assert split.key == "data.path" and "heldout_split=validation" in split.want
    (column,) = problems_of(data_spec("imdb", path=path, columns={"text": "txet"}))
    assert column.key == "data.columns.text" and "'text'" in column.remedy
    (tmp_path / "empty").mkdir()
    (empty,) = problems_of(data_spec("imdb", path=str(tmp_path / "empty")))
    assert empty.key == "data.path"
    (missing,) = data_spec("imdb", path=str(tmp_path / "nowhere")).problems()
    assert missing.key == "data.path" and "not there" in missing.got
    (single,) = data_spec("imdb", path=f"{path}/train.jsonl").problems()
    assert "data=file" in single.remedy


def test_a_wrong_label_in_a_copy_is_named_by_split_and_row(tmp_path: Path) -> None:
    """Catches: a label that nobody explained read as true or false."""
    path = copy(tmp_path / "imdb", {"text": "one two three four five six", "label": "fine"}, rows=1)
    problems = problems_of(data_spec("imdb", path=str(path)))
    assert [problem.key for problem in problems] == [f"{path}/train:1", f"{path}/test:1"]


def test_without_a_network_the_way_out_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: half a minute of retries, and an error that does not say how to go on offline."""
    from datasets import config
    from huggingface_hub import constants

    with socket.socket() as closed:  # bound and never listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(time, "sleep", _no_sleeping)
        (problem,) = problems_of(data_spec("imdb"))
    assert problem.key == "data.path" and "no network" in problem.got
    assert "hf download stanfordnlp/imdb" in problem.remedy and "data.path=FOLDER" in problem.remedy
    assert config.HF_HUB_OFFLINE is False


def _no_sleeping(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s to try again")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data samples are not beside the project")
@pytest.mark.parametrize(
    ("choice", "folder", "needs", "rows"),
    [
        ("hh_rlhf", "hh_harmless", "pairs", 1600),
        ("imdb", "rotten_tomatoes", "unpaired", 8000),
        ("gsm8k", "gsm8k", "demonstrations", 800),
    ],
)
def test_real_samples_lose_few_rows(choice: str, folder: str, needs: Any, rows: int) -> None:
    """Catches: a parser that fits made-up rows only."""
    splits = load_data(data_spec(choice, path=str(REAL / folder)), needs)
    assert 0.97 * rows < len(splits.train) <= rows
    assert len(splits.texts) == len(splits.heldout) > 0
