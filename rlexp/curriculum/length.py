"""Short rows first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rlexp.spec.curriculum import CurriculumSpec, Pace, RowMeasures
from rlexp.spec.errors import Problem

ANSWERS = ("completion", "chosen", "rejected")


class LengthCurriculum(CurriculumSpec):
    """Rows by their tokens, from short to long."""

    of: Literal["prompt", "example"]
    """What is measured: the prompt, or the prompt and its longest answer."""
    descending: bool
    """Long rows first."""
    pace: Pace
    """How fast the longer ones come in."""

    def problems(self) -> list[Problem]:
        return self.pace.problems()

    def difficulty(
        self, rows: Sequence[dict[str, Any]], measures: RowMeasures
    ) -> list[float | None]:
        """Return the tokens of each row."""
        lengths = measures.lengths([row["prompt"] for row in rows])
        answers = [name for name in ANSWERS if name in rows[0]] if self.of == "example" else []
        of_answers = [measures.lengths([row[name] for row in rows]) for name in answers]
        sign = -1.0 if self.descending else 1.0
        return [
            sign * (length + max((column[place] for column in of_answers), default=0))
            for place, length in enumerate(lengths)
        ]
