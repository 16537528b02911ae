"""A file of your own: jsonl, csv or parquet; or the answers that a run of `algo=sample` left."""

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
from rlexp.spec.files.rated_run import rated_files


class File(Table):
    """Rows of one file, and perhaps of a second one that is held out."""

    path: str | None
    """The file, whose suffix says how to read it; or a run of `algo=sample`, by its folder or as
    `run:ID`, whose rated answers are read: those to training prompts, and those to held-out ones
    as `heldout_path`."""
    heldout_path: str | None
    """A file with the same columns to evaluate on; null holds out a share of `path` instead."""
    encoding: Encoding
    """Of the texts in a jsonl, json or csv file, as Python calls it, e.g. gb18030; null: UTF-8, or
    what a byte order mark says."""

    def problems(self) -> list[Problem]:
        """Return the mistakes that the first rows of the files show."""
        try:
            path, heldout_path = self._files()
            kind = self._layout(path, "data.path").kind
            if heldout_path is None:
                return []
            other = self._layout(heldout_path, "data.heldout_path").kind
        except UserError as error:
            return list(error.problems)
        if other == kind:
            return []
        got = f"{heldout_path}, which holds {other}"
        return [Problem("data.heldout_path", got, f"{kind}, as {path} holds")]

    def kind(self) -> Kind:
        return self._layout(self._files()[0], "data.path").kind

    def extra_columns(self) -> set[str]:
        return set(self._layout(self._files()[0], "data.path").extra)

    def source_columns(self) -> set[str]:
        return set(self._first(self._files()[0], "data.path")[1])

    def read(self) -> Rows:
        log = ReadingLog()
        path, heldout_path = self._files()
        train, layout = self._read(path, "data.path", log)
        heldout = None
        if heldout_path is not None:
            heldout, _ = self._read(heldout_path, "data.heldout_path", log, heldout=True)
        raise_problems(log.problems, str(path))
        return Rows(
            [row for _, row in train],
            [row for _, row in heldout] if heldout is not None else None,
            str(path),
            log.notes(),
            [place for place, _ in train],
            [place for place, _ in heldout or []],
            layout.repeated,
        )

    def _files(self) -> tuple[str | None, str | None]:
        """Return the files of rows and of held-out rows, which a run may have left.

        Raises:
            UserError: a run that left none.
        """
        of_run = rated_files(self.path, "data.path") if self.path else None
        if of_run is None:
            return self.path, self.heldout_path
        return str(of_run[0]), self.heldout_path or str(of_run[1])

    def _read(
        self, path: str | None, key: str, log: ReadingLog, *, heldout: bool = False
    ) -> tuple[list[tuple[str, Row]], Layout]:
        layout = self._layout(path, key)
        records = read_records(str(path), key, log.problems, self.encoding)
        placed = ((f"{path}:{line}", record) for line, record in records)
        return self.rows(placed, layout, log, heldout=heldout), layout

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
