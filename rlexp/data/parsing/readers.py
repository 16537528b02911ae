"""Files of rows, read record by record: jsonl, json, csv and parquet.

A reader yields each record with its line (a json or parquet file's row), counted from 1. A line
that cannot be read is added to `problems` and left out, so that one pass finds all that is wrong
with a file.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlexp.data.parsing.decoding import decoded_lines
from rlexp.data.parsing.turns import is_turn
from rlexp.spec.errors import Problem, UserError

Record = dict[str, Any]
Records = Iterator[tuple[int, Record]]
JSON_ARRAY = "One array of all rows is read where the file's name ends in .json."


def read_records(
    path: str, key: str, problems: list[Problem], encoding: str | None = None
) -> Records:
    """Yield the records of a file, read by its suffix.

    Args:
        path: the file, as the user wrote it; `~` is expanded.
        key: the config key that named it.
        problems: where lines that cannot be read are added.
        encoding: of its texts; None is UTF-8, or what a byte order mark says.

    Raises:
        UserError: no such file, a folder, or a suffix that is not in `FORMATS`.
    """
    file = Path(path).expanduser()
    known = ", ".join(FORMATS)
    if file.is_dir():
        want = f"one file: {known}, or the folder of a run of algo=sample"
        raise UserError(Problem(key, f"{path}, a folder", want))
    if not file.is_file():
        raise UserError(Problem(key, f"{path}, which is not there", "a file", _near_file(file)))
    reader = FORMATS.get(file.suffix.lower())
    if reader is None:
        got = f"{path}, which ends in {file.suffix!r}" if file.suffix else f"{path}, without suffix"
        raise UserError(Problem(key, got, known))
    return reader(file, path, problems, encoding)


def _near_file(file: Path) -> str:
    if not file.parent.is_dir():
        return f"The folder {file.parent} is not there either."
    names = sorted(neighbour.name for neighbour in file.parent.iterdir())
    near = get_close_matches(file.name, names, n=1)
    if near:
        return f"Did you mean {file.parent / near[0]}?"
    return f"The folder {file.parent} is there, but nothing in it has a name like that."


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _RepeatedName(_repeated_names(name for name, _ in pairs))
    return record


def _read_json(file: Path, shown: str, problems: list[Problem], encoding: str | None) -> Records:
    """Yield the objects of one array; a file that has an object a line is read as a jsonl is."""
    text = "".join(decoded_lines(file, shown, problems, encoding))
    try:
        rows = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            yield from _read_jsonl(file, shown, problems, encoding)
            return
        got = f"broken JSON: {error.msg}, at character {error.colno}"
        problems.append(Problem(f"{shown}:{error.lineno}", got, "one array of objects"))
        return
    except _RepeatedName as error:
        problems.append(Problem(shown, f"the key {error} twice in an object", "each key once"))
        return
    if isinstance(rows, dict):
        got = f"one object with the keys {', '.join(rows)}"
        lists = [name for name, value in rows.items() if isinstance(value, list)]
        remedy = ""
        if lists:
            filtering = shlex.quote(f'.["{lists[0]}"]')
            rows_file = shlex.quote(str(Path(shown).with_suffix(".rows.json")))
            remedy = (
                f"If {lists[0]} holds the rows: jq {filtering} {shlex.quote(shown)} > {rows_file}"
            )
        problems.append(Problem(shown, got, "one array of objects", remedy))
        return
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        record = _record(row)
        if record is None:
            got = f"a {type(row).__name__}"
            problems.append(Problem(f"{shown}:{number}", got, "one array of objects"))
        else:
            yield number, record


def _record(value: object) -> Record | None:
    """Return a row; also one that is nothing but a conversation, without a column around it."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(map(is_turn, value)):
        return {"messages": value}
    return None


def _read_jsonl(file: Path, shown: str, problems: list[Problem], encoding: str | None) -> Records:
    want = "one JSON object a line"
    for number, line in enumerate(decoded_lines(file, shown, problems, encoding), start=1):
        place = f"{shown}:{number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_unique)
        except json.JSONDecodeError as error:
            cut_off = not line.endswith("\n") or error.pos >= len(line.rstrip())
            cut_off = cut_off or error.msg.startswith("Unterminated")
            remedy = "The line ends early: was a copy or a download cut off?" if cut_off else ""
            got = f"broken JSON: {error.msg}, at character {error.pos + 1}"
            problems.append(Problem(place, got, want, remedy))
        except _RepeatedName as error:
            problems.append(Problem(place, f"the key {error} twice", "each key once"))
        else:
            row = _record(record)
            if row is None:
                got = f"a {type(record).__name__}"
                problems.append(Problem(place, got, want, JSON_ARRAY))
            else:
                yield number, row


class _RepeatedName(Exception):
    """A name that stands more than once where it may stand once."""


def _repeated_names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name, count in Counter(names).items() if count > 1)


def _read_csv(file: Path, shown: str, problems: list[Problem], encoding: str | None) -> Records:
    csv.field_size_limit(2**31 - 1)  # a conversation in a cell is longer than a hundred thousand
    reader = csv.reader(decoded_lines(file, shown, problems, encoding), strict=True)
    start, header = 1, None
    try:
        for cells in reader:
            number, start = start, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = [name.strip() for name in cells]
                if repeated := _repeated_names(header):
                    got, remedy = f"the column {repeated} twice", "Rename or remove one."
                    problems.append(Problem(f"{shown}:{number}", got, "each column once", remedy))
            elif len(cells) != len(header):
                got, want = f"{len(cells)} cells", f"{len(header)}, one a column of the header"
                remedy = 'Put texts that hold commas, quotes or line breaks in "quotes".'
                problems.append(Problem(f"{shown}:{number}", got, want, remedy))
            else:
                yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        remedy = "Is a quote open that begins in this line, or the file cut off?"
        problems.append(Problem(f"{shown}:{start}", f"broken csv: {error}", "csv", remedy))


def _read_parquet(file: Path, shown: str, problems: list[Problem], encoding: str | None) -> Records:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        remedy = "Was a copy or a download cut off?"
        problems.append(Problem(shown, f"broken parquet: {error}", "a parquet file", remedy))
        return
    if repeated := _repeated_names(table.schema_arrow.names):
        problems.append(Problem(shown, f"the column {repeated} twice", "each column once"))
        return
    rows = (row for batch in table.iter_batches(1024) for row in batch.to_pylist())
    try:
        yield from enumerate(rows, start=1)
    except (pa.ArrowInvalid, OSError) as error:
        problems.append(Problem(shown, f"broken parquet: {error}", "a parquet file"))


FORMATS: dict[str, Callable[[Path, str, list[Problem], str | None], Records]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
