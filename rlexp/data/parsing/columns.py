"""Tables, wherever they stand: records of a source as rows in canonical columns.

`File` and `Hub` share this. What the columns mean says `rlexp.data.parsing.layouts`, what a record
becomes `rlexp.data.parsing.records`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from rlexp.data.parsing.conversations import is_dialogue, without_repeated_prompts
from rlexp.data.parsing.layouts import Columns, Layout, find_layout
from rlexp.data.parsing.mistakes import RecordError, SkipRecord
from rlexp.data.parsing.records import to_row
from rlexp.data.parsing.truncation import PromptWords
from rlexp.data.parsing.turns import TurnRules
from rlexp.data.parsing.values import Row, Rules
from rlexp.spec.data import DataSource
from rlexp.spec.errors import Problem, UserError

MAX_PROBLEMS = 20
MAX_ALIKE = 3
"""Rows with the same mistake that are named one by one."""


@dataclass
class ReadingLog:
    """What reading a source brought to light."""

    problems: list[Problem] = field(default_factory=list)
    """Mistakes, one a record."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows that say nothing, by reason."""
    remarks: Counter[str] = field(default_factory=Counter)
    """What was done to rows that stay, or is worth knowing of them."""
    layout_notes: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return what was done, in words for the card."""
        return [
            *dict.fromkeys(self.layout_notes),
            *(f"rows dropped because {reason}: {count}" for reason, count in self.dropped.items()),
            *(f"{remark}: {count}" for remark, count in self.remarks.items()),
        ]


class Table(DataSource):
    """Rows in named columns."""

    columns: Columns
    """The source's names of the canonical columns; null takes the canonical name where a file has
    it. A published set's yaml names all that are used."""
    extra: list[str] | None
    """Further columns that rewards read; null keeps all that there are."""
    labels: dict[str | int | float, bool]
    """What label values other than true, false, yes, no, 1 and 0 mean, e.g. {good: true, bad:
    false}."""
    roles: dict[str, str]
    """Who speaks in turns of a role that no chat template knows, e.g. {narrator: user}."""
    ignored_keys: list[str]
    """Keys of turns that are left out, e.g. [timestamp]; an unknown key is a mistake otherwise."""
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
        return find_layout(header, self.named(), self.extra, place, self.names_by_default)

    def rows(
        self,
        records: Iterable[tuple[str, Row]],
        layout: Layout,
        log: ReadingLog,
        *,
        heldout: bool = False,
    ) -> list[tuple[str, Row]]:
        """Return records as rows, each with its place.

        Args:
            records: each with its place, `file:line`.
            layout: of the first record, which the others must share.
            log: where mistakes are added, and what was done.
            heldout: whether they are a file of rows to evaluate on.
        """
        rows, rules = [], None
        if layout.note:
            log.layout_notes.append(layout.note)
        for place, record in records:
            rules = rules or self._rules(record, layout, heldout)
            try:
                rows.append((place, to_row(record, layout, rules, log.remarks)))
            except RecordError as error:
                log.problems.append(Problem(place, error.got, error.want, error.remedy))
            except SkipRecord as reason:
                log.dropped[str(reason)] += 1
        return without_repeated_prompts(rows, log.remarks)

    def _rules(self, first: Row, layout: Layout, heldout: bool) -> Rules:
        parse = self.dialogues
        if parse is None:
            stand_alone = layout.kind != "pairs" or {"prompt", "messages"} & set(layout.names)
            parse = not stand_alone and is_dialogue(first.get(layout.names["chosen"]))
        turns = TurnRules(self.roles, self.ignored_keys)
        undecided = self.extra is None
        return Rules(
            self.prompt_words, parse, self.drops_empty, self.labels, turns, undecided, heldout
        )


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
