"""Mistakes in a data file: each is found, with its file and line, and what to do about it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from data_specs import data_spec, problems_of

PAIR = {"prompt": "q", "chosen": "good", "rejected": "bad"}
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_every_bad_line_of_a_jsonl_is_named_in_one_go(write: Write) -> None:
    """Catches: stopping at the first mistake, counting lines from 0, or skipping blank ones."""
    good = json.dumps(PAIR).encode()
    path = write(
        "pairs.jsonl",
        b"\n".join(
            [
                good,
                b"",
                b'{"prompt": "caf\xe9", "chosen": "a", "rejected": "b"}',
                b'["q", "a", "b"]',
                b'{"prompt": "q", "chosne": "a", "rejected": "b"}',
                b'{"prompt": "q", "chosen": null, "rejected": "b"}',
                b'{"prompt": "q", "chosen": 3, "rejected": "b"}',
                b'{"prompt": "q", "chosen": "  ", "rejected": "b"}',
                b'{"prompt": "q", "prompt": "p", "chosen": "a", "rejected": "b"}',
                b'{"prompt": "q", "chosen": "\\ud800", "rejected": "b"}',
                good[:20],
            ]
        ),
    )
    problems = {problem.key: problem for problem in problems_of(data_spec("file", path=str(path)))}
    expected = {
        3: ("byte 0xe9 at position 16", "UTF-8"),
        4: ("a list", "one JSON object a line"),
        5: ("without 'chosen'", "columns of the first row"),
        6: ("null as 'chosen'", "a value"),
        7: ("3, a int, as 'chosen'", "a text or a list of messages"),
        8: ("an empty 'chosen'", "a text"),
        9: ("the key 'prompt' twice", "each key once"),
        10: ("surrogate", "Unicode"),
        11: ("broken JSON", "one JSON object a line"),
    }
    assert set(problems) == {f"{path}:{line}" for line in expected}
    for line, (got, want) in expected.items():
        problem = problems[f"{path}:{line}"]
        assert got in problem.got and want in problem.want
    assert "'chosne' misspelt" in problems[f"{path}:5"].remedy
    assert "cut off" in problems[f"{path}:11"].remedy


def test_a_broken_first_line_does_not_hide_the_others(write: Write) -> None:
    """Catches: reading the columns from line 1 only, and giving up there."""
    path = write("pairs.jsonl", '{"prompt": \n' + lines(PAIR) + "oops\n")
    keys = [problem.key for problem in problems_of(data_spec("file", path=str(path)))]
    assert keys == [f"{path}:1", f"{path}:3"]


def test_many_mistakes_are_cut_short_and_counted(write: Write) -> None:
    """Catches: a terminal flooded by a file of another format."""
    path = write("pairs.jsonl", lines(PAIR) + "no json\n" * 50)
    problems = problems_of(data_spec("file", path=str(path)))
    assert [problem.key for problem in problems] == [f"{path}:{line}" for line in (2, 3, 4)] + [
        str(path)
    ]
    assert f"in 47 more rows, the last at {path}:51" in problems[-1].got
    path = write("other.jsonl", "".join(lines({**PAIR, "chosen": i}) for i in range(1, 50)))
    problems = problems_of(data_spec("file", path=str(path)))
    assert len(problems) == 21
    assert problems[-1].got == "29 further mistakes"


def test_csv_mistakes_have_the_line_where_their_record_begins(write: Write) -> None:
    """Catches: counting records instead of lines where a quoted text holds line breaks."""
    path = write(
        "labels.csv",
        'text,label\n"one two three four\nfive six",1\nall in one two,three,0\n'
        "one two three four,maybe\n,1\n",
    )
    problems = {problem.key: problem for problem in problems_of(data_spec("file", path=str(path)))}
    assert set(problems) == {f"{path}:{line}" for line in (4, 5, 6)}
    assert problems[f"{path}:4"].got == "3 cells"
    assert problems[f"{path}:5"].got == "'maybe' as label"
    assert "data.labels" in problems[f"{path}:5"].remedy
    assert problems[f"{path}:6"].got == "an empty 'text'"


def test_a_quote_that_is_never_closed_is_named_where_it_opens(write: Write) -> None:
    """Catches: the rest of the file read as one text."""
    path = write("labels.csv", 'text,label\nfine to read here,1\n"open for ever,0\nmore,1\n')
    (problem,) = problems_of(data_spec("file", path=str(path)))
    assert problem.key == f"{path}:3"
    assert "broken csv" in problem.got


def test_a_header_that_names_a_column_twice(write: Write) -> None:
    """Catches: the later of the two silently winning."""
    path = write("labels.csv", "text,label,text\na b c d,1,e f g h\n")
    (problem,) = problems_of(data_spec("file", path=str(path)))
    assert (problem.key, problem.got) == (f"{path}:1", "the column 'text' twice")


def test_a_truncated_parquet(write: Write, tmp_path: Path) -> None:
    """Catches: pyarrow's traceback instead of a message; its file has no lines to name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prompt": ["a"] * 100}), tmp_path / "whole.parquet")
    path = write("half.parquet", (tmp_path / "whole.parquet").read_bytes()[:200])
    (problem,) = problems_of(data_spec("file", path=str(path)))
    assert problem.key == str(path)
    assert "broken parquet" in problem.got and "cut off" in problem.remedy


def test_a_parquet_row_is_named_by_its_number(tmp_path: Path) -> None:
    """Catches: an index from 0, or one that starts anew with each batch of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "prompts.parquet"
    pq.write_table(pa.table({"prompt": ["ask"] * 1500 + [None]}), path)
    (problem,) = problems_of(data_spec("file", path=str(path)))
    assert (problem.key, problem.got) == (f"{path}:1501", "null as 'prompt'")


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv"])
def test_an_empty_file(write: Write, name: str) -> None:
    """Catches: an index error, or a run without rows."""
    path = write(name, "")
    (problem,) = problems_of(data_spec("file", path=str(path)))
    assert (problem.key, problem.got) == (str(path), "no rows")


def test_files_that_are_not_there_or_not_known(write: Write, tmp_path: Path) -> None:
    """Catches: a remedy that does not name the file that was meant."""
    path = write("pairs.jsonl", lines(PAIR))
    write("pairs.xlsx", "")
    (missing,) = data_spec("file", path=str(tmp_path / "piars.jsonl")).problems()
    assert missing.key == "data.path" and f"Did you mean {path}?" in missing.remedy
    (unknown,) = data_spec("file", path=str(tmp_path / "pairs.xlsx")).problems()
    assert unknown.want == ".jsonl, .json, .csv, .parquet"
    (folder,) = data_spec("file", path=str(tmp_path)).problems()
    assert folder.got == f"{tmp_path}, a folder"
    (unset,) = data_spec("file").problems()
    assert unset.remedy == "Set data.path=FILE."
    spec = data_spec("file", path=str(path), heldout_path=str(tmp_path / "no" / "held.jsonl"))
    (heldout,) = spec.problems()
    assert heldout.key == "data.heldout_path" and "not there either" in heldout.remedy


def test_columns_are_checked_before_anything_is_read(write: Write) -> None:
    """Catches: a misnamed column that shows only after the model was loaded."""
    path = write("qa.jsonl", lines({"question": "q", "answer": "a"}))
    names = {"prompt": "questoin"}
    (misspelt,) = data_spec("file", path=str(path), columns=names).problems()
    assert misspelt.key == "data.columns.prompt" and "'question'" in misspelt.remedy
    (extra,) = data_spec(
        "file", path=str(path), columns={"prompt": "question"}, extra=["x"]
    ).problems()
    assert extra.key == "data.extra"
    (unknown,) = data_spec("file", path=str(path)).problems()
    assert unknown.key == f"{path}:1" and "question, answer" in unknown.got
    near = write("near.jsonl", lines({"promt": "q"}))
    (guessed,) = data_spec("file", path=str(near)).problems()
    assert guessed.remedy.endswith("data.columns.prompt=promt.")


def test_held_out_rows_must_be_of_the_same_kind(write: Write) -> None:
    """Catches: perplexity of prompts, or a late KeyError on the missing answers."""
    train, heldout = write("a.jsonl", lines(PAIR)), write("b.jsonl", lines({"prompt": "q"}))
    (problem,) = data_spec("file", path=str(train), heldout_path=str(heldout)).problems()
    assert problem.key == "data.heldout_path"
    assert problem.got.endswith("holds prompts") and problem.want.startswith("pairs")


def test_labels_of_one_class_only(write: Write) -> None:
    """Catches: learning from contrast where there is none."""
    rows = [{"text": f"one two three four {n}", "label": 1} for n in range(40)]
    path = write("texts.jsonl", lines(*rows))
    (problem,) = problems_of(data_spec("file", path=str(path)), "unpaired")
    assert "labels are true" in problem.got and "data.labels" in problem.remedy


def test_mistakes_are_found_without_heavy_imports(write: Write) -> None:
    """Catches: an import of torch, datasets or pyarrow on the way to a jsonl's first mistake."""
    path = write("pairs.jsonl", lines(PAIR) + "{")
    script = (
        "import sys; from data_specs import data_spec, problems_of\n"
        f"assert len(problems_of(data_spec('file', path={str(path)!r}))) == 1\n"
        "print(*{'torch', 'datasets', 'pyarrow', 'transformers', 'trl'} & set(sys.modules))"
    )
    tests = Path(__file__).parent
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = {[str(tests), str(tests.parents[1])]}\n{script}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
