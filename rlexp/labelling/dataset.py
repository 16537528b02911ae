"""Versions of a data set: folders TO/NAME/v1, v2, …, which are written once and whole.

A version stands in its place from one moment to the next: it is written beside it, put on the disk,
and renamed. What a killed import leaves is cleared away by the next one.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rlexp.data.parsing.values import Row
from rlexp.labelling.reading import Judgement
from rlexp.labelling.words import SIDES
from rlexp.runtime.files import fsync_path
from rlexp.runtime.lock import Held, lock
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.labelling import Shape

JUDGEMENTS, REPORT, CARD = "judgements.jsonl", "import.json", "card.md"
PATIENCE = 60.0
"""Seconds for another import into the same data set to end."""
_DRAFT = ".new-"
_VERSION = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class DatasetVersion:
    """A folder of a data set."""

    folder: Path
    is_new: bool
    """Whether it was written now, or held the same rows before."""


def as_jsonl(rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as a jsonl file's text."""
    return "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in rows)


def judgement_rows(judgements: Sequence[Judgement], shape: Shape) -> list[Row]:
    """Return judgements in the columns of `conf/import.yaml`: they can be imported again."""
    winners = {value: side for side, value in SIDES.items()}
    rows: list[Row] = []
    for judgement in judgements:
        prompt = {} if judgement.prompt is None else {"prompt": judgement.prompt}
        columns = ("a", "b", "winner") if shape == "pairs" else ("answer", "score")
        verdict = winners[judgement.value] if shape == "pairs" else judgement.value
        said = dict(zip(columns, (*judgement.answers, verdict), strict=True))
        who = {} if judgement.annotator is None else {"annotator": judgement.annotator}
        rows.append({**judgement.extra, **prompt, **said, **who, "place": judgement.place})
    return rows


def save_version(
    parent: Path, content: Mapping[str, str], about: Mapping[str, str]
) -> DatasetVersion:
    """Write files as the next version of a data set, unless one holds the same content.

    Args:
        parent: the data set's folder; made where it is not there.
        content: name -> text, of the files that tell versions apart.
        about: the same of files that describe them.

    Raises:
        UserError: the folder cannot be written, or another import does not end.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with lock(parent, PATIENCE):
            for draft in parent.glob(f"{_DRAFT}*"):  # of an import that was killed
                shutil.rmtree(draft)
            versions = _versions(parent)
            wanted = {name: sha256(text.encode()).digest() for name, text in content.items()}
            for folder in versions.values():
                if _digests(folder, wanted) == wanted:
                    return DatasetVersion(folder, is_new=False)
            folder = parent / f"v{max(versions, default=0) + 1}"
            _write_folder(folder, {**content, **about})
            return DatasetVersion(folder, is_new=True)
    except Held as held:
        remedy = "Wait for it, or end it first."
        raise UserError(
            Problem(str(parent), held.process, "nobody at work there", remedy)
        ) from held
    except OSError as error:
        remedy = "Set to=FOLDER, or free some space."
        got = f"{parent}: {error.strerror or error}"
        raise UserError(Problem("to", got, "a folder that can be written", remedy)) from error


def _versions(parent: Path) -> dict[int, Path]:
    matches = {folder: _VERSION.fullmatch(folder.name) for folder in parent.iterdir()}
    return {int(match[1]): folder for folder, match in sorted(matches.items()) if match}


def _digests(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    files = [folder / name for name in names]
    return {file.name: sha256(file.read_bytes()).digest() for file in files if file.is_file()}


def _write_folder(folder: Path, files: Mapping[str, str]) -> None:
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder.parent))
    draft.chmod(0o755)
    for name, text in files.items():
        (draft / name).write_text(text, encoding="utf-8")
        fsync_path(draft / name)
    fsync_path(draft)
    draft.rename(folder)
    fsync_path(folder.parent)
