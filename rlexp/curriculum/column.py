"""Rows by a column of the data, such as a level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import Field

from rlexp.spec.checks.curriculum import no_column
from rlexp.spec.curriculum import CurriculumSpec, Pace, RowMeasures
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.schedule import is_finite

KEY = "curriculum.column"
SHOWN = 5


class ColumnCurriculum(CurriculumSpec):
    """Rows by the value that a column has: numbers, or texts whose order is given."""

    column: str = Field(min_length=1)
    """A column of the data."""
    order: list[str | int | float | bool] | None
    """All values of the column, the easiest first; null takes a column of numbers as it is."""
    descending: bool
    """The greatest number, or the last of `order`, first."""
    pace: Pace
    """How fast the later ones come in."""

    def problems(self) -> list[Problem]:
        twice = [value for value, count in Counter(self.order or ()).items() if count > 1]
        want = "each value once"
        repeated = [Problem("curriculum.order", f"{value!r} twice", want) for value in twice]
        return [*self.pace.problems(), *repeated]

    def check_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        self._places(rows)

    def difficulty(
        self, rows: Sequence[dict[str, Any]], measures: RowMeasures
    ) -> list[float | None]:
        """Return the place of each row's value.

        Raises:
            UserError: values that are no numbers and stand in no order.
        """
        sign = -1.0 if self.descending else 1.0
        return [sign * place for place in self._places(rows)]

    def _places(self, rows: Sequence[dict[str, Any]]) -> list[float]:
        values = column_values(rows, self.column, KEY)
        if self.order is None:
            self._check_numbers(values)
            return [float(value) for value in values]
        places = {value: float(place) for place, value in enumerate(self.order)}
        self._check_order(values, places)
        return [places[value] for value in values]

    def _check_numbers(self, values: Sequence[Any]) -> None:
        wrong = dict.fromkeys(repr(value) for value in values if not is_finite(value))
        if wrong:
            every = ",".join(dict.fromkeys(str(value) for value in values))
            got = f"a column with {_shortened(wrong)}"
            remedy = f"Say their order, the easiest first: curriculum.order=[{every}]"
            raise UserError(Problem(KEY, got, "numbers, or curriculum.order", remedy))

    def _check_order(self, values: Sequence[Any], places: Mapping[Any, float]) -> None:
        missing = dict.fromkeys(repr(value) for value in values if value not in places)
        if missing:
            want = f"every value of the column {self.column!r}"
            near = get_close_matches(next(iter(missing)), [repr(value) for value in places], n=1)
            remedy = f"Is {near[0]} meant?" if near else "Add them where they belong."
            got = f"an order without {_shortened(missing)}"
            raise UserError(Problem("curriculum.order", got, want, remedy))


def column_values(rows: Sequence[dict[str, Any]], column: str, key: str) -> list[Any]:
    """Return a column's values, one a row.

    Raises:
        UserError: no such column, or rows without a value of it.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    if column not in names:
        raise UserError(no_column(column, sorted(names), key))
    values = [row.get(column) for row in rows]
    if empty := values.count(None):
        got = f"{column!r}, which {empty} of {len(rows)} rows do not have"
        raise UserError(Problem(key, got, "a column with a value in every row"))
    return values


def _shortened(values: dict[str, None]) -> str:
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(list(values)[:SHOWN]) + more
