"""The run's reward as a callable for TRL: one number a completion, each term logged by itself."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from rlexp.scoring import Scorer
from rlexp.scoring.scorer import ScoredBatch
from rlexp.spec.reward import DataColumns, Text
from rlexp.spec.thinking import ThinkingReader

NOT_COLUMNS = ("completion_ids", "log_extra", "environments")


class RewardFunction:
    """Calls the reward with TRL's arguments.

    TRL sums reward functions with weights of its own; one function that sums by itself keeps a
    reward the same in training and in the card, whatever its terms do to each other.

    Attributes:
        scored: what the completions that are asked for earn, where that is known already.
    """

    def __init__(self, scorer: Scorer, thinking: ThinkingReader | None = None) -> None:
        """
        Args:
            scorer: of the run's reward.
            thinking: finds what the reward is not to see; None: it sees all.
        """
        self.scorer, self.thinking = scorer, thinking
        self.scored: ScoredBatch | None = None
        self.__name__ = scorer.reward.name

    def __call__(
        self,
        prompts: list[Text],
        completions: list[Text],
        log_metric: Callable[[str, float], None] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float]:
        """Return the rewards of n completions; `log_metric` is told of each term of a mix.

        Schedules follow the trainer's step, which a failure names.

        Raises:
            UserError, RunFailed: as `Scorer.train` does.
        """
        own = {name: values for name, values in columns.items() if name not in NOT_COLUMNS}
        step = trainer_state.global_step if trainer_state is not None else 0
        scored = self.scored or self._score(prompts, completions, own, step)
        if log_metric is not None:
            for name, value in scored.metrics.items():
                log_metric(name, value)
        return scored.totals

    def _score(
        self, prompts: list[Text], completions: list[Text], columns: DataColumns, step: int
    ) -> ScoredBatch:
        if self.thinking is None:
            return self.scorer.train(prompts, completions, columns, step)
        answers, unfinished = self.thinking.answers(prompts, completions)
        scored = self.scorer.train(prompts, answers, columns, step)
        share = {"rollout/thinking_unfinished": fmean(unfinished)}
        return ScoredBatch(scored.totals, scored.metrics | share)
