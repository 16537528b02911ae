"""Tables, wherever they stand: which of their columns mean what, and what kind of rows that makes.

`File` and `Hub` share this. A record of the source becomes a row in the canonical columns of
`rlexp.spec.data.KIND_COLUMNS`; see `rlexp.data.parsing.records`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from rlexp.data.parsing.conversations import is_dialogue
from rlexp.data.parsing.records import RecordError, Row, Rules, SkipRecord, to_row
from rlexp.data.parsing.truncation import PromptWords
from rlexp.spec.data import DataSpec, Kind
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.part import Part

SHAPES: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("prompt", "chosen", "rejected"), "pairs"),
    (("chosen", "rejected"), "pairs"),
    (("prompt", "completion", "label"), "unpaired"),
    (("prompt", "completion"), "demonstrations"),
    (("text", "label"), "unpaired"),
    (("text",), "demonstrations"),
    (("prompt",), "prompts"),
)
"""The sets of columns that make a data set; of those that fit, the first is taken."""

MAX_PROBLEMS = 20
MAX_ALIKE = 3
"""Rows with the same mistake that are named one by one."""


class Columns(Part):
    """What the source calls each canonical column."""

    prompt: str | None
    """What is asked: a text or a list of messages."""
    completion: str | None
    """The answer to the prompt."""
    chosen: str | None
    """The better answer; with the dialogue before it where there is no prompt column."""
    rejected: str | None
    """The worse answer; with the dialogue before it where there is no prompt column."""
    text: str | None
    """Whole texts, which are cut into prompt and completion."""
    label: str | None
    """Whether the completion or text is good."""


@dataclass(frozen=True)
class Layout:
    """Where a source keeps what a row needs."""

    kind: Kind
    names: dict[str, str]
    """Canonical column -> the source's name."""
    extra: dict[str, bool]
    """Further columns kept for rewards -> whether a row must have a value."""


class Table(DataSpec):
    """Rows in named columns."""

    columns: Columns
    """The source's names of the canonical columns; null takes the canonical name where a file has
    it. A published set's yaml names all that are used."""
    extra: list[str] | None
    """Further columns that rewards read; null keeps all that there are."""
    labels: dict[str | int, bool]
    """What label values other than true, false, 1 and 0 mean, e.g. {good: true, bad: false}."""
    prompt_words: PromptWords
    """Fewest and most opening words of a `text` that become its prompt."""
    dialogues: bool | None
    r"""Parse `chosen` and `rejected` as whole dialogues with `\n\nHuman:` and `\n\nAssistant:`;
    null looks at the first row."""

    drops_empty: ClassVar[bool] = False
    """Whether rows with empty values are dropped and counted, or a mistake to put right."""
    names_by_default: ClassVar[bool] = True
    """Whether null in `columns` takes the canonical name where the source has it, or none."""

    def named(self) -> dict[str, str]:
        """Return the columns that the config names: canonical -> the source's name."""
        return {column: name for column, name in self.columns if name is not None}

    def layout(self, header: Iterable[str], place: str) -> Layout:
        """Return what the columns of a source mean.

        Raises:
            UserError: a column that the config names is not there, or no known set of columns is.
        """
        present = list(header)
        named = self.named()
        missing = [
            _missing(f"data.columns.{column}", name, present, place)
            for column, name in named.items()
            if name not in present
        ]
        missing += [
            _missing("data.extra", name, present, place)
            for name in self.extra or []
            if name not in present
        ]
        if missing:
            raise UserError(missing)
        canonical = [column for column in Columns.model_fields if column in present]
        names = (
            dict(zip(canonical, canonical, strict=True)) if self.names_by_default else {}
        ) | named
        for shape, kind in SHAPES:
            if set(named) <= set(shape) <= set(names):
                used = {column: names[column] for column in shape}
                return Layout(kind, used, self._extra(present, used))
        raise UserError(_no_shape(present, named, place))

    def _extra(self, present: list[str], used: dict[str, str]) -> dict[str, bool]:
        if self.extra is not None:
            return dict.fromkeys(self.extra, True)
        return dict.fromkeys((name for name in present if name not in used.values()), False)

    def rows(
        self,
        records: Iterable[tuple[str, Row]],
        layout: Layout,
        problems: list[Problem],
        dropped: Counter[str],
    ) -> list[Row]:
        """Return records as rows.

        Args:
            records: each with its place, `file:line`.
            layout: of the first record, which the others must share.
            problems: where mistakes are added, one a record.
            dropped: where rows that say nothing are counted, by reason.
        """
        rows, rules = [], None
        for place, record in records:
            rules = rules or self._rules(record, layout)
            try:
                rows.append(to_row(record, layout.names, layout.extra, rules))
            except RecordError as error:
                problems.append(Problem(place, error.got, error.want, error.remedy))
            except SkipRecord as reason:
                dropped[str(reason)] += 1
        return rows

    def _rules(self, first: Row, layout: Layout) -> Rules:
        parse = self.dialogues
        if parse is None:
            stand_alone = layout.kind != "pairs" or "prompt" in layout.names
            parse = not stand_alone and is_dialogue(first.get(layout.names["chosen"]))
        return Rules(self.prompt_words, parse, self.drops_empty, self.labels)


def raise_problems(problems: list[Problem], source: str) -> None:
    """Raise the problems, if any, as a `UserError`: some of each kind, and the others' number."""
    if not problems:
        return
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((problem.got, problem.want), []).append(problem)
    shown = []
    for group in alike.values():
        shown += group[:MAX_ALIKE]
        if more := group[MAX_ALIKE:]:
            got = f"{group[0].got}, in {len(more)} more rows, the last at {more[-1].key}"
            shown.append(Problem(source, got, group[0].want))
    if (others := len(shown) - MAX_PROBLEMS) > 0:
        shown = [*shown[:MAX_PROBLEMS], Problem(source, f"{others} further mistakes", "none")]
    raise UserError(shown)


def drop_notes(dropped: Counter[str]) -> list[str]:
    """Return what was dropped, in words for the card."""
    return [f"rows dropped because {reason}: {count}" for reason, count in dropped.items()]


def _missing(key: str, name: str, present: list[str], place: str) -> Problem:
    near = get_close_matches(name, present, n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else ""
    return Problem(key, f"{name!r}, no column of {place}", f"one of {', '.join(present)}", remedy)


def _no_shape(present: list[str], named: dict[str, str], place: str) -> Problem:
    fitting = [shape for shape, _ in SHAPES if set(named) <= set(shape)] or [s for s, _ in SHAPES]
    want = "one of these sets: " + "; ".join(" + ".join(shape) for shape in fitting)
    remedy = "Say which column is which, e.g. data.columns.prompt=NAME."
    for column in Columns.model_fields:
        near = get_close_matches(column, present, n=1)
        if near and column not in present:
            remedy = f"Is {near[0]!r} the {column}? Then set data.columns.{column}={near[0]}."
            break
    configured = f", of which the config names {', '.join(named)}" if named else ""
    return Problem(place, f"the columns {', '.join(present)}{configured}", want, remedy)
