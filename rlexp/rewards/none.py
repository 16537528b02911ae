"""No reward, for algorithms that learn from data alone."""

from __future__ import annotations

from typing import ClassVar

from rlexp.spec.reward import DataColumn, DataColumns, RewardSpec, Scores, Text


class NoReward(RewardSpec):
    """Scores nothing: every total is 0, and there are no terms to report."""

    scores_anything: ClassVar[bool] = False

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        return [0.0] * len(completions)

    def score(self, prompts: list[Text], completions: list[Text], columns: DataColumns) -> Scores:
        return Scores(total=self(prompts, completions), terms={})
