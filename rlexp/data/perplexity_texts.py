"""Texts of the user's choice, to see what a model forgets: a book, code, another language."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.data.derived.split import shuffle_key
from rlexp.data.parsing.columns import raise_problems
from rlexp.data.parsing.decoding import decoded_lines
from rlexp.data.parsing.readers import read_records
from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from rlexp.data.load import Splits

KEY, COLUMN = "eval.texts_path", "text"
_EMPTY_LINES = re.compile(r"\n\s*\n")


def with_texts_of(splits: Splits, path: str | None) -> Splits:
    """Return the splits with the file's texts in place of the data's own; as they are for None.

    Their order is that of a shuffle, always the same one.

    Raises:
        UserError: the file cannot be read, or holds no texts.
    """
    if path is None:
        return splits
    texts = sorted(read_texts(path), key=lambda text: shuffle_key({"completion": text}))
    digest = sha256("\0".join(texts).encode()).hexdigest()[:8]
    note = f"forgetting is measured on {path}: {len(texts)} texts, digest {digest}"
    return replace(splits, texts=texts, text_sources=[], notes=[*splits.notes, note])


def read_texts(path: str) -> list[str]:
    """Return the texts of a file: the paragraphs of a txt, else the column `text`.

    Raises:
        UserError: with every mistake of the file, or if it holds no text.
    """
    if Path(path).suffix.lower() == ".txt":
        texts = _paragraphs(path)
    else:
        problems: list[Problem] = []
        texts = []
        for line, record in read_records(path, KEY, problems):
            text = record.get(COLUMN)
            if isinstance(text, str):
                texts.append(text.strip())
            else:
                columns = ", ".join(record)
                got = f"{type(text).__name__} as {COLUMN!r}" if COLUMN in record else columns
                problems.append(Problem(f"{path}:{line}", got, f"a text in the column {COLUMN!r}"))
        raise_problems(problems, path)
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(Problem(KEY, f"{path}, without a text", "a file of texts"))
    return texts


def _paragraphs(path: str) -> list[str]:
    problems: list[Problem] = []
    try:
        content = "".join(decoded_lines(Path(path).expanduser(), path, problems, None))
    except OSError as error:
        raise UserError(Problem(KEY, f"{path}: {error}", "a file that can be read")) from error
    raise_problems(problems, path)
    return [paragraph.strip() for paragraph in _EMPTY_LINES.split(content)]
