"""Files that are no UTF-8: read by their byte order mark, or told by name with what mends them."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from data_specs import data_spec, problems_of

LINE = '{"prompt": "%s", "completion": "%s"}\n'
TEXTS = {
    "gb18030": "介绍一下第零盏灯，它很旧，也很安静。",
    "big5": "請告訴我關於第一盞燈的事情，它很舊。",
    "cp932": "ランプについて教えてください。古くて静かです。",
    "euc_jp": "ランプについて教えてください。古くて静かです。",
    "cp949": "램프에 대해 알려주세요. 오래되고 조용합니다.",
    "cp1252": "Erzähl mir von der „schönen“ Lampe – sie ist alt.",
    "cp1251": "Расскажи мне о лампе. Она старая и тихая.",
}


def write(tmp_path: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_likely_encoding_is_named_and_both_remedies_lose_nothing(
    tmp_path: Path, encoding: str
) -> None:
    """Catches: a remedy that makes letters of other letters, on which a run then trains."""
    text = TEXTS[encoding]
    path = write(tmp_path, "".join(LINE % (text, f"{n} {text}") for n in range(9)).encode(encoding))
    (problem,) = problems_of(data_spec("file", path=str(path)), "demonstrations")
    assert problem.key == f"{path}:1" and "in 8 more lines" in problem.got
    wanted = [{"prompt": text, "completion": f"{n} {text}"} for n in range(9)]
    named = re.search(r"data\.encoding=(\w+)", problem.remedy)
    command = re.search(r"iconv .*", problem.remedy)
    assert named and command
    assert data_spec("file", path=str(path), encoding=named[1]).read().train == wanted
    subprocess.run(command[0], shell=True, check=True)
    made = shlex.split(command[0])[-1]
    assert data_spec("file", path=made).read().train == wanted


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv"])
def test_unicode_in_all_its_forms_is_read(tmp_path: Path, encoding: str, name: str) -> None:
    """Catches: what Windows saves as Unicode called broken, or read with a mark in a name."""
    rows = [{"prompt": f"schön {n}", "completion": "灯"} for n in range(3)]
    content = {
        "rows.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "rows.json": json.dumps(rows, ensure_ascii=False, indent=1),
        "rows.csv": "prompt,completion\r\n"
        + "".join(f"{row['prompt']},{row['completion']}\r\n" for row in rows),
    }[name]
    path = write(tmp_path, content.encode(encoding), name)
    assert data_spec("file", path=str(path)).read().train == rows


def test_files_put_together_have_marks_inside(tmp_path: Path) -> None:
    """Catches: broken JSON where a second file's byte order mark begins or ends a line."""
    path = write(tmp_path, '\ufeff{"prompt": "a"}\n\ufeff{"prompt": "b"}\ufeff\n'.encode())
    assert [row["prompt"] for row in data_spec("file", path=str(path)).read().train] == ["a", "b"]


def test_a_few_broken_lines_are_not_taken_for_another_encoding(tmp_path: Path) -> None:
    """Catches: iconv proposed for a file that is UTF-8 all but one line."""
    path = write(tmp_path, (LINE % ("ö", "灯")).encode() + (LINE % ("ö", "x")).encode("cp1252"))
    (problem,) = problems_of(data_spec("file", path=str(path)), "demonstrations")
    assert problem.key == f"{path}:2" and "iconv" not in problem.remedy
    command = problem.remedy.partition(": ")[2]
    shown = subprocess.run(command, shell=True, capture_output=True, check=True)
    assert shown.stdout.startswith(b"2:")


def test_an_encoding_that_is_not_the_files(tmp_path: Path) -> None:
    """Catches: letters replaced where the config names the wrong encoding."""
    path = write(tmp_path, (LINE % ("ascii", "x") + LINE % ("ö", "x")).encode("cp1252"))
    (problem,) = problems_of(data_spec("file", path=str(path), encoding="gb18030"))
    assert problem.key == f"{path}:2" and "data.encoding" in problem.remedy


def test_an_encoding_that_nobody_knows() -> None:
    """Catches: a traceback of codecs; `base64` is a codec of another kind."""
    for name in ("gbq", "base64"):
        with pytest.raises(ValueError, match="an encoding of texts"):
            data_spec("file", path="rows.jsonl", encoding=name)


@pytest.mark.parametrize(
    ("content", "got", "line"),
    [
        ('{"data": [{"prompt": "a"}]}', "one object with the keys data", None),
        ('[{"prompt": "a"},\n{"prompt" "b"}]', "broken JSON", 2),
        ('[{"prompt": "a"}, 3]', "a int", 2),
        ('[{"prompt": "a", "prompt": "b"}]', "'prompt' twice", None),
    ],
)
def test_mistakes_in_a_json_file(tmp_path: Path, content: str, got: str, line: int | None) -> None:
    """Catches: rows taken from an object that nobody named, or a mistake without its line."""
    path = write(tmp_path, content.encode(), "rows.json")
    (problem,) = problems_of(data_spec("file", path=str(path)))
    assert got in problem.got
    assert problem.key == (f"{path}:{line}" if line else str(path))


def test_a_json_file_may_have_an_object_a_line(tmp_path: Path) -> None:
    """Catches: jsonl under a name that ends in .json refused."""
    path = write(tmp_path, b'{"prompt": "a"}\n{"prompt": "b"}\n', "rows.json")
    assert len(data_spec("file", path=str(path)).read().train) == 2


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_rows_inside_of_an_object_are_taken_out_by_the_command(tmp_path: Path) -> None:
    """Catches: a command that a name with a space or a dot breaks."""
    path = write(tmp_path, b'{"v": 1, "all.rows": [{"prompt": "a"}]}', "my rows.json")
    (problem,) = problems_of(data_spec("file", path=str(path)))
    command = problem.remedy.partition(": ")[2]
    subprocess.run(command, shell=True, check=True)
    made = shlex.split(command)[-1]
    assert data_spec("file", path=made).read().train == [{"prompt": "a"}]
