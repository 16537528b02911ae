"""A published data set: from the Hugging Face hub, or from a folder with a copy of it.

A copy may be the hub's repository as it is, or a folder that holds the subset's files themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rlexp.data.parsing.columns import ReadingLog, Table, raise_problems
from rlexp.data.parsing.layouts import Layout
from rlexp.data.parsing.values import Row
from rlexp.runtime.waiting import announced_wait
from rlexp.spec.data import Kind, Rows
from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from datasets import Dataset

PROBE_SECONDS = 3.0


class Hub(Table):
    """Rows that `datasets` loads. Its yaml names the columns, so that its kind is known unread."""

    path: str
    """Hub id owner/name, or a folder with a copy of the data set."""
    subset: str | None
    """The configuration's name, where the data set's card defines several; null takes the only
    one."""
    folder: str | None
    """The subset's folder, where subsets are folders; null takes the top."""
    revision: str | None
    """Hub branch, tag or commit; null takes the main branch. Of no meaning for a copy."""
    split: str
    """The split to train on."""
    heldout_split: str | None
    """The split to evaluate on; null holds out a share of `split` instead."""

    drops_empty: ClassVar[bool] = True
    names_by_default: ClassVar[bool] = False

    def problems(self) -> list[Problem]:
        """Return what is wrong with the columns' names, or a local path."""
        try:
            self._layout()
        except UserError as error:
            return list(error.problems)
        looks_local = self.path.startswith(("/", ".", "~")) or self.path.count("/") != 1
        if self._local_copy is not None or not looks_local:
            return []
        want = "a hub id owner/name, or a folder with a copy of the data set"
        if Path(self.path).expanduser().is_file():
            remedy = f"For a single file: data=file data.path={self.path}"
            return [Problem("data.path", f"{self.path}, a file", want, remedy)]
        return [Problem("data.path", f"{self.path}, which is not there", want)]

    def kind(self) -> Kind:
        return self._layout().kind

    def extra_columns(self) -> set[str] | None:
        return None if self.extra is None else set(self.extra)

    def source_columns(self) -> set[str]:
        return {*self.named().values(), *(self.extra or [])}

    def read(self) -> Rows:
        from datasets import load_dataset
        from datasets.exceptions import DatasetGenerationError

        splits = [self.split] if self.heldout_split is None else [self.split, self.heldout_split]
        arguments, notes = self._arguments()
        try:
            waits = announced_wait(f"the data set {self.path}")
            with _without_network(self._local_copy is None), waits:
                tables = load_dataset(**arguments, split=splits)
        except ConnectionError as error:
            raise UserError(self._unreachable()) from error
        except (ValueError, FileNotFoundError, DatasetGenerationError) as error:
            raise UserError(self._unloadable(error)) from error
        log = ReadingLog()
        sides = [
            self._rows(table, f"{self.path}/{name}", log)
            for name, table in zip(splits, tables, strict=True)
        ]
        raise_problems(log.problems, self.path)
        train, heldout = sides[0], sides[1] if len(sides) > 1 else None
        subset = arguments["name"] or arguments["data_dir"]
        source = f"{self.path}/{subset}" if subset else self.path
        if self.revision and self._local_copy is None:
            source += f"@{self.revision}"
        return Rows(
            [row for _, row in train],
            [row for _, row in heldout] if heldout is not None else None,
            source,
            [*notes, *log.notes()],
            [place for place, _ in train],
            [place for place, _ in heldout or []],
        )

    @property
    def _local_copy(self) -> Path | None:
        folder = Path(self.path).expanduser()
        return folder if folder.is_dir() else None

    def _layout(self) -> Layout:
        named = self.named()
        return self.layout([*named.values(), *(self.extra or [])], "data.columns")

    def _arguments(self) -> tuple[dict[str, Any], list[str]]:
        """Return the arguments of `load_dataset`, and notes on what means nothing for a copy."""
        arguments = {"path": self.path, "name": self.subset, "data_dir": self.folder}
        if self._local_copy is None:
            return arguments | {"revision": self.revision}, []
        notes = []
        arguments["path"] = str(self._local_copy)
        if self.subset and not (self._local_copy / "README.md").is_file():
            arguments["name"] = None
            notes.append(f"{self.path} has no card: taken to hold the subset {self.subset} only")
        if self.folder and not (self._local_copy / self.folder).is_dir():
            arguments["data_dir"] = None
            notes.append(f"{self.path} has no folder {self.folder}: its own files were taken")
        return arguments, notes

    def _rows(self, table: Dataset, place: str, log: ReadingLog) -> list[tuple[str, Row]]:
        layout = self.layout(table.column_names, place)
        placed = (
            (f"{place}:{number}", cast("Row", row)) for number, row in enumerate(table, start=1)
        )
        return self.rows(placed, layout, log)

    def _unreachable(self) -> Problem:
        fetch = f"hf download {self.path} --repo-type dataset --local-dir FOLDER"
        return Problem(
            "data.path",
            f"{self.path}, which is neither a folder here nor in the cache, and no network",
            "a folder with a copy of the data set, or a network",
            f"Where there is a network: {fetch}; then here: data.path=FOLDER",
        )

    def _unloadable(self, error: Exception) -> Problem:
        got = f"{self.path}, which cannot be loaded: {error}"
        settings = {
            key: getattr(self, key) for key in ("subset", "folder", "split", "heldout_split")
        }
        want = "a data set with " + ", ".join(f"{k}={v}" for k, v in settings.items() if v)
        return Problem("data.path", got, want, "Set these keys of data to what the data set has.")


@contextmanager
def _without_network(needed: bool) -> Iterator[None]:
    """Let `datasets` go to its cache at once where the hub is needed but out of reach.

    By itself it tries for half a minute or more.
    """
    from datasets import config

    online = not config.HF_HUB_OFFLINE
    if needed and online and not _reachable():
        config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = not online


def _reachable() -> bool:
    from huggingface_hub import constants

    probe = Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the user's own endpoint
    try:
        with urlopen(probe, timeout=PROBE_SECONDS):  # noqa: S310
            return True
    except HTTPError:
        return True  # an answer, whatever it says
    except OSError:
        return False
