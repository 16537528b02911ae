"""How close a completion's length is to a target.

With x = (length - target) / width the value is max(0, 1 - |x|) (triangular) or exp(-x² / 2)
(gaussian, whose slope never quite dies: better where the policy starts far from the target).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from pydantic import Field

from rlexp.rewards.base import texts_of, token_lengths, words_of
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text


class Length(RewardSpec):
    """Closeness to a target length, in [0, 1]; 1 at the target.

    An empty completion has the length 0; of tokens, its end token alone, 1.

    >>> near_four = Length(name="length", target=4, width=2, unit="words", shape="triangular")
    >>> near_four(["Say"] * 4, ["It was so good.", "Good, good, good.", "很好看吗", ""])
    [1.0, 0.5, 1.0, 0.0]
    """

    target: int = Field(ge=0)
    """The wanted length, in `unit`."""
    width: float = Field(gt=0)
    """Distance from the target, in `unit`, at which the triangle reaches 0; the gaussian's
    standard deviation."""
    unit: Literal["words", "characters", "tokens"]
    """What is counted: words (a character each in scripts without spaces), all characters but white
    space at both ends, or the model's tokens as they were sampled, the end token included."""
    shape: Literal["triangular", "gaussian"]
    """How the value falls with the distance."""

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def reads_tokens(self) -> bool:
        return self.unit == "tokens"

    def by_design(self) -> dict[StrategyKind, str]:
        return dict.fromkeys(get_args(StrategyKind), "the length alone counts, not what is said")

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        if self.unit == "tokens":
            return [self._value(length) for length in token_lengths(columns)]
        return [self._value(self._length(text)) for text in texts_of(completions)]

    def _length(self, text: str) -> int:
        return len(words_of(text)) if self.unit == "words" else len(text.strip())

    def _value(self, length: int) -> float:
        x = (length - self.target) / self.width
        return max(0.0, 1.0 - abs(x)) if self.shape == "triangular" else math.exp(-x * x / 2)
