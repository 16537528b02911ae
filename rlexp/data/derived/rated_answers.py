"""Rated answers as the rows of a file, which `data=file` reads again.

Prompts stand there as the model read them, framed already: `data=file` adds nothing to them. Empty
answers, which no file may hold, are left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from rlexp.data.derived.preference_sampling import ScoredAnswers
from rlexp.data.parsing.values import Row


@dataclass(frozen=True)
class RowFilter:
    """Which rated answers become rows."""

    keep: Literal["all", "best"]
    """All answers of a prompt with their rewards, or the best one as its demonstration."""
    least_reward: float | None
    """Of the best answer; None takes any."""
    least_margin: float
    """Between the best answer and the worst."""

    def training_rows(self, groups: list[ScoredAnswers]) -> tuple[list[Row], str]:
        """Return the rows to train on, and in words how many prompts were left out, and why."""
        kept, left_out = [], Counter[str]()
        for group in map(_without_empty, groups):
            if reason := self._refused(group):
                left_out[reason] += 1
            else:
                kept.append(group)
        words = "; ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items()))
        return self._rows(kept), words

    def heldout_rows(self, groups: list[ScoredAnswers]) -> list[Row]:
        """Return rows of all prompts, so that every run on them is evaluated on the same ones.

        Demonstrations are of those alone that have an answer.
        """
        nonempty = [_without_empty(group) for group in groups]
        return self._rows([group for group in nonempty if group.scores or self.keep == "all"])

    def _refused(self, group: ScoredAnswers) -> str:
        """Return why a prompt's answers are left out; nothing where they are kept."""
        if not group.scores:
            return "no answer with a reward"
        margin = max(group.scores) - min(group.scores)
        if self.least_reward is not None and max(group.scores) < self.least_reward:
            return f"best reward below {self.least_reward:g}"
        if self.keep == "all" and margin == 0:
            return "fewer than two answers" if len(group.scores) < 2 else "equal rewards only"
        return f"margin below {self.least_margin:g}" if margin < self.least_margin else ""

    def _rows(self, groups: list[ScoredAnswers]) -> list[Row]:
        """Return one row a prompt; columns that some rows of the data lack are null there."""
        columns = dict.fromkeys(name for group in groups for name in group.row)
        return [{**dict.fromkeys(columns), **group.row, **self._answers(group)} for group in groups]

    def _answers(self, group: ScoredAnswers) -> Row:
        if self.keep == "best":
            return {"completion": group.answer(group.best())}
        pairs = zip(group.completions, group.scores, strict=True)
        return {"completions": [{"content": one.text, "score": score} for one, score in pairs]}


def _without_empty(group: ScoredAnswers) -> ScoredAnswers:
    pairs = [*zip(group.completions, group.scores, strict=True)]
    filled = [(one, score) for one, score in pairs if one.text.strip()]
    return ScoredAnswers(group.row, [one for one, _ in filled], [score for _, score in filled])
