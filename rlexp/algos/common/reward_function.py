"""The run's reward as a callable for TRL: one number a completion, each term logged by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlexp.scoring import Scorer
from rlexp.scoring.scorer import ScoredBatch
from rlexp.spec.reward import Text

NOT_COLUMNS = ("completion_ids", "log_extra", "environments")


class RewardFunction:
    """Calls the reward with TRL's arguments.

    TRL sums reward functions with weights of its own; one function that sums by itself keeps a
    reward the same in training and in the card, whatever its terms do to each other.

    Attributes:
        scored: what the completions that are asked for earn, where that is known already.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
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
        step = trainer_state.global_step if trainer_state is not None else 0
        scored = self.scored or self.score(prompts, completions, columns, step)
        if log_metric is not None:
            for name, value in scored.metrics.items():
                log_metric(name, value)
        return self.scorer.whiten_totals(scored.totals)

    def score(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, Any], step: int
    ) -> ScoredBatch:
        """Score n completions that need not be the whole of a batch, which a call then whitens."""
        own = {name: values for name, values in columns.items() if name not in NOT_COLUMNS}
        return self.scorer.train(prompts, completions, own, step)
