"""A file of your own: jsonl, csv or parquet."""

from __future__ import annotations

from collections import Counter

from rlexp.data.parsing.columns import Layout, Table, drop_notes, raise_problems
from rlexp.data.parsing.readers import FORMATS, read_records
from rlexp.data.parsing.records import Row
from rlexp.spec.data import Kind, Rows
from rlexp.spec.errors import Problem, UserError


class File(Table):
    """Rows of one file, and perhaps of a second one that is held out."""

    path: str | None
    """The file; its suffix says how to read it."""
    heldout_path: str | None
    """A file with the same columns to evaluate on; null holds out a share of `path` instead."""

    def problems(self) -> list[Problem]:
        """Return the mistakes that the first rows of the files show."""
        try:
            kind = self._layout(self.path, "data.path").kind
            if self.heldout_path is None:
                return []
            other = self._layout(self.heldout_path, "data.heldout_path").kind
        except UserError as error:
            return list(error.problems)
        if other == kind:
            return []
        got = f"{self.heldout_path}, which holds {other}"
        return [Problem("data.heldout_path", got, f"{kind}, as {self.path} holds")]

    def kind(self) -> Kind:
        return self._layout(self.path, "data.path").kind

    def extra_columns(self) -> set[str]:
        return set(self._layout(self.path, "data.path").extra)

    def read(self) -> Rows:
        problems: list[Problem] = []
        dropped: Counter[str] = Counter()
        train = self._read(self.path, "data.path", problems, dropped)
        heldout = None
        if self.heldout_path is not None:
            heldout = self._read(self.heldout_path, "data.heldout_path", problems, dropped)
        raise_problems(problems, str(self.path))
        return Rows(train, heldout, str(self.path), drop_notes(dropped))

    def _read(
        self, path: str | None, key: str, problems: list[Problem], dropped: Counter[str]
    ) -> list[Row]:
        layout = self._layout(path, key)
        records = read_records(str(path), key, problems)
        placed = ((f"{path}:{line}", record) for line, record in records)
        return self.rows(placed, layout, problems, dropped)

    def _layout(self, path: str | None, key: str) -> Layout:
        if path is None:
            want = f"a file: {', '.join(FORMATS)}"
            raise UserError(Problem(key, "nothing", want, f"Set {key}=FILE."))
        problems: list[Problem] = []
        for line, record in read_records(path, key, problems):
            return self.layout(record, f"{path}:{line}")
        raise_problems(problems, path)
        raise UserError(Problem(path, "no rows", "at least two rows", "Is it the right file?"))
