"""A penalty that begins before the length limit: the soft overlong punishment of DAPO.

Yu et al. 2025, arXiv:2503.14476, equation 13. Cutting an answer at the limit is noise: a good one
is punished for its length alone, and nothing told the policy that it was coming near. With L the
limit and C the cache, an answer of n tokens scores 0 up to L - C, then (L - C - n) / C, and -1 from
L on.
"""

from __future__ import annotations

from typing import get_args

from pydantic import Field

from rlexp.rewards.base import token_lengths
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text


class Overlong(RewardSpec):
    """0 for answers that keep clear of the limit, falling to -1 at it, in [-1, 0].

    An empty completion scores 0: alone, this reward teaches silence, so give it as one term of a
    mix.

    >>> soft = Overlong(name="overlong", limit=100, cache=20)
    >>> soft(["Say"] * 4, ["…"] * 4, completion_ids=[[7] * n for n in (80, 85, 100, 120)])
    [0.0, -0.25, -1.0, -1.0]
    """

    limit: int = Field(gt=0)
    """Tokens, the end token included, that cost the whole penalty: the longest answer that is
    sampled."""
    cache: float = Field(gt=0)
    """How long before the limit the penalty begins: tokens; below 1 a share of the limit. (DAPO:
    4096 of 20480, a fifth.)"""

    def problems(self) -> list[Problem]:
        """A cache that is longer than the limit."""
        if self.cache <= self.limit:
            return []
        want = f"at most the limit ({self.limit} tokens), or a share of it below 1"
        return [Problem("reward.cache", f"{self.cache:g}", want, "0.2 is DAPO's.")]

    def bounds(self) -> tuple[float, float]:
        return -1.0, 0.0

    def by_design(self) -> dict[StrategyKind, str]:
        why = "an answer that is short enough is not punished, whatever it says"
        return {kind: why for kind in get_args(StrategyKind) if kind != "length"}

    def reads_tokens(self) -> bool:
        return True

    def penalised_from(self) -> float:
        return self.limit - self._cache_tokens

    @property
    def _cache_tokens(self) -> float:
        return self.cache if self.cache >= 1 else self.cache * self.limit

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        free, cache = self.penalised_from(), self._cache_tokens
        return [min(0.0, max(-1.0, (free - length) / cache)) for length in token_lengths(columns)]
