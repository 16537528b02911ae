"""The run's reward as a callable for TRL: one number a completion, each term logged by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec, Text

NOT_COLUMNS = ("completion_ids", "trainer_state", "log_extra", "log_metric", "environments")


class RewardFunction:
    """Calls the reward with TRL's arguments.

    TRL sums reward functions with weights of its own; one function that sums by itself keeps a
    reward the same in training and in the card, whatever its terms do to each other.
    """

    def __init__(self, reward: RewardSpec) -> None:
        self.reward = reward
        self.__name__ = reward.name

    def __call__(
        self,
        prompts: list[Text],
        completions: list[Text],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Rewards of n completions.

        Raises:
            RunFailed: a reward that is not a finite number; training on it would end in NaN.
        """
        own = {name: value for name, value in columns.items() if name not in NOT_COLUMNS}
        scores = self.reward.score(prompts, completions, own)
        for index, value in enumerate(scores.total):
            if not math.isfinite(value):
                raise RunFailed(
                    f"the reward {self.reward.name} gave {value} for the completion "
                    f"{completions[index]!r} of the prompt {prompts[index]!r}",
                    "a division by zero, or a text that the reward does not expect",
                    "mend the reward, or bound its value",
                )
        if log_metric is not None and set(scores.terms) != {self.reward.name}:
            for name, values in scores.terms.items():
                log_metric(f"reward_{name}", fmean(values))
        return scores.total
