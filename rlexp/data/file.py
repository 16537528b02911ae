"""A file of your own: jsonl, csv or parquet."""

from __future__ import annotations

from dataclasses import replace

from rlexp.data.parsing.columns import ReadingLog, Table, raise_problems
from rlexp.data.parsing.decoding import Encoding
from rlexp.data.parsing.layouts import Layout
from rlexp.data.parsing.readers import FORMATS, read_records
from rlexp.data.parsing.turns import ends_with_answer
from rlexp.data.parsing.values import Row
from rlexp.spec.data import Kind, Rows
from rlexp.spec.errors import Problem, UserError


class File(Table):
    """Rows of one file, and perhaps of a second one that is held out."""

    path: str | None
    """The file; its suffix says how to read it."""
    heldout_path: str | None
    """A file with the same columns to evaluate on; null holds out a share of `path` instead."""
    encoding: Encoding
    """Of the texts in a jsonl, json or csv file, as Python calls it, e.g. gb18030; null: UTF-8, or
    what a byte order mark says."""

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

    def source_columns(self) -> set[str]:
        return set(self._first(self.path, "data.path")[1])

    def read(self) -> Rows:
        log = ReadingLog()
        train, layout = self._read(self.path, "data.path", log)
        heldout = None
        if self.heldout_path is not None:
            heldout, _ = self._read(self.heldout_path, "data.heldout_path", log)
        raise_problems(log.problems, str(self.path))
        return Rows(
            [row for _, row in train],
            [row for _, row in heldout] if heldout is not None else None,
            str(self.path),
            log.notes(),
            [place for place, _ in train],
            [place for place, _ in heldout or []],
            layout.repeated,
        )

    def _read(
        self, path: str | None, key: str, log: ReadingLog
    ) -> tuple[list[tuple[str, Row]], Layout]:
        layout = self._layout(path, key)
        records = read_records(str(path), key, log.problems, self.encoding)
        placed = ((f"{path}:{line}", record) for line, record in records)
        return self.rows(placed, layout, log), layout

    def _layout(self, path: str | None, key: str) -> Layout:
        line, record = self._first(path, key)
        layout = self.layout(record, f"{path}:{line}")
        name = layout.names.get("messages")
        if layout.kind == "demonstrations" and name and not ends_with_answer(record[name]):
            return replace(layout, kind="prompts")
        return layout

    def _first(self, path: str | None, key: str) -> tuple[int, Row]:
        """Return the first record that can be read, and its line."""
        if path is None:
            want = f"a file: {', '.join(FORMATS)}"
            raise UserError(Problem(key, "nothing", want, f"Set {key}=FILE."))
        problems: list[Problem] = []
        for line, record in read_records(path, key, problems, self.encoding):
            return line, record
        raise_problems(problems, path)
        raise UserError(Problem(path, "no rows", "at least two rows", "Is it the right file?"))
