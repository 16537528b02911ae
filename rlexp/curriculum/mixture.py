"""Shares of the draws by the value of a column, which may move over the training."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from rlexp.spec.curriculum import CurriculumSpec
from rlexp.spec.errors import Problem
from rlexp.spec.schedule import Weight, read_weight


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


def share_problems(weights: dict[str, Weight], key: str) -> list[Problem]:
    """Return what is wrong with weights as shares: negative ones, a step at which all are 0."""
    negative = [
        Problem(f"{key}.{name}", f"{low:g}", "0 or more: it is a share of the rows")
        for name, weight in weights.items()
        if (low := min(value for _, value in weight.points)) < 0
    ]
    if negative:
        return negative
    # between two points the sum is linear, so that it is 0 there only if it is at a point
    steps = sorted({step for weight in weights.values() for step, _ in weight.points})
    empty = [step for step in steps if not any(weight.at(step) for weight in weights.values())]
    if not empty:
        return []
    want = "at least one weight above 0 at every step"
    return [Problem(key, f"weights that are all 0 at step {empty[0]}", want)]
