"""Shares of the draws by the value of a column, which may move over the training."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from rlexp.spec.curriculum import CurriculumSpec
from rlexp.spec.errors import Problem
from rlexp.spec.schedule import Weight, read_weight, share_problems


class MixtureCurriculum(CurriculumSpec):
    """Rows weighted by their source, whatever the sources' sizes.

    With `data=mix`, whose sources have their weights already, it is these.
    """

    weighs: ClassVar[bool] = True

    column: str = Field(min_length=1)
    """The data's column whose values are weighted."""
    weights: dict[str, Any]
    """Of each value of the column a weight, or a schedule over the optimizer steps as a list of
    [step, weight] or as {from: …, to: …, steps: …}: its share of the rows drawn, as far as the
    weights add up. Empty takes the weights that the data has for its sources."""

    def problems(self) -> list[Problem]:
        return self._read[1]

    def shares(self) -> dict[str, Weight]:
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[dict[str, Weight], list[Problem]]:
        problems: list[Problem] = []
        shares: dict[str, Weight] = {}
        for value, given in self.weights.items():
            weight = read_weight(given, f"curriculum.weights.{value}", problems)
            if weight is not None:
                shares[value] = weight
        return shares, [*problems, *share_problems(shares, "curriculum.weights")]
