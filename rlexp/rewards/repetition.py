"""A penalty for saying the same again: the share of a completion's n-grams that stood there before.

It is 1 minus the distinct-n of Li et al. 2016 (arXiv:1510.03055), with the sign of a penalty.
"""

from __future__ import annotations

from typing import get_args

from pydantic import Field

from rlexp.rewards.base import texts_of, words_of
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text


class Repetition(RewardSpec):
    """Minus the share of repeated n-grams of words, in (-1, 0]; 0 when none repeats.

    Case and punctuation do not count. A completion with fewer than n words, an empty one too,
    scores 0: alone, this reward teaches silence, so give it as one term of a mix.

    >>> fresh = Repetition(name="repetition", ngram=2)
    >>> fresh(["Say"] * 3, ["Good film, good film, good film!", "A good film.", ""])
    [-0.6, 0.0, 0.0]
    """

    ngram: int = Field(ge=1)
    """Words in a row that count as one phrase."""

    def bounds(self) -> tuple[float, float]:
        return -1.0, 0.0

    def by_design(self) -> dict[StrategyKind, str]:
        why = "a text that repeats nothing is not punished, whatever it says"
        return {kind: why for kind in get_args(StrategyKind) if kind != "repetition"}

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        return [self._penalty(words_of(text.casefold())) for text in texts_of(completions)]

    def _penalty(self, words: list[str]) -> float:
        n = self.ngram
        ngrams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
        repeated = len(ngrams) - len(set(ngrams))
        return -repeated / len(ngrams) if repeated else 0.0
