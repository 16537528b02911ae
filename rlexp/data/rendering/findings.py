"""What can be wrong with rows that a chat template has written, in words for people.

A finding is about a kind of mistake: its share of the rows, one example, and a remedy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

SHOWN = 60
"""Characters of an example that are shown."""


@dataclass
class RowFinding:
    """A kind of mistake, and the rows in which it is."""

    what: str
    """The kind, such that `in 3 of 10 rows` may stand before it."""
    remedy: str
    place: str
    """Of the first row that has it."""
    detail: str
    """What that row shows of it."""
    rows: set[int] = field(default_factory=set)

    def sentence(self, looked_at: int) -> str:
        """Return the finding in words.

        Args:
            looked_at: rows in which it was looked for.
        """
        count = len(self.rows)
        share = "all" if count == looked_at else f"{count} of {looked_at}"
        rows = f"in {share} rows" if looked_at > 1 else "in the only row"
        example = f" ({self.place}: {self.detail})" if self.detail else f" ({self.place})"
        return f"{rows} {self.what}{example}. {self.remedy}"


class Findings:
    """Collects findings, one a kind.

    Args:
        place_of: where a row stands, by its number.
    """

    def __init__(self, place_of: Callable[[int], str]) -> None:
        self.place_of = place_of
        self.by_kind: dict[str, RowFinding] = {}

    def add(self, kind: str, row: int, what: str, detail: str, remedy: str) -> None:
        """Count a row for a kind; the first one's words stay."""
        found = self.by_kind.get(kind)
        if found is None:
            found = RowFinding(what, remedy, self.place_of(row), detail)
            self.by_kind[kind] = found
        found.rows.add(row)

    def sentences(self, looked_at: int) -> list[str]:
        """Return all findings in words, those of most rows first."""
        ordered = sorted(self.by_kind.values(), key=lambda finding: -len(finding.rows))
        return [finding.sentence(looked_at) for finding in ordered]


def quoted(text: str) -> str:
    """Return a text in quotes, short enough for a line, control characters escaped."""
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return repr(shown)
