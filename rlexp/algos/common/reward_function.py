"""The run's reward as a callable for TRL: one number a completion, each term logged by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection
from statistics import fmean
from typing import Any

from rlexp.scoring import Scorer
from rlexp.scoring.scorer import ScoredBatch
from rlexp.spec.reward import ENDED, TOKENS, DataColumns, Text
from rlexp.spec.thinking import ThinkingReader

NOT_COLUMNS = ("log_extra", "environments")


class RewardFunction:
    """Calls the reward with TRL's arguments.

    TRL sums reward functions with weights of its own; one function that sums by itself keeps a
    reward the same in training and in the card, whatever its terms do to each other.

    Attributes:
        scored: what the completions that are asked for earn, where that is known already.
    """

    def __init__(
        self,
        scorer: Scorer,
        eos_token_ids: Collection[int] = (),
        thinking: ThinkingReader | None = None,
    ) -> None:
        """
        Args:
            scorer: of the run's reward.
            eos_token_ids: that end an answer; by them it is known of TRL's answers which were cut.
            thinking: finds what the reward is not to see of a text; None: it sees all. The tokens
                it is told are the whole answer's.
        """
        self.scorer, self.ends = scorer, frozenset(eos_token_ids)
        self.thinking = thinking
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
        """Return the rewards of n completions, a whole batch of this process; `log_metric` is told
        of each term of a mix.

        Schedules follow the trainer's step, which a failure names.

        Raises:
            UserError, RunFailed: as `Scorer.train` does.
        """
        if self.scored is None:
            totals = self.draw(prompts, completions, log_metric, trainer_state, **columns)
        else:
            totals = self.scored.totals
            _log(self.scored.metrics, log_metric)
        return self.scorer.whiten_totals(totals)

    def draw(
        self,
        prompts: list[Text],
        completions: list[Text],
        log_metric: Callable[[str, float], None] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float]:
        """Return the same of completions that are not the batch yet: nothing is whitened."""
        own = {name: values for name, values in columns.items() if name not in NOT_COLUMNS}
        if TOKENS in own and ENDED not in own:
            own[ENDED] = [bool(ids) and ids[-1] in self.ends for ids in own[TOKENS]]
        step = trainer_state.global_step if trainer_state is not None else 0
        scored = self._score(prompts, completions, own, step)
        _log(scored.metrics, log_metric)
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


def _log(metrics: dict[str, float], log_metric: Callable[[str, float], None] | None) -> None:
    if log_metric is not None:
        for name, value in metrics.items():
            log_metric(name, value)
