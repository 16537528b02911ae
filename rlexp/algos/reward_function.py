"""The run's reward as a callable for TRL: one number a completion, each term logged by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.reward import RewardSpec, Scores, Text

NOT_COLUMNS = ("completion_ids", "log_extra", "environments")


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
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float]:
        """Rewards of n completions.

        Args:
            prompts: n prompts.
            completions: n completions.
            log_metric: told of each term of a mix.
            trainer_state: transformers' TrainerState, for the step that a failure names.
            columns: the data's, one value a completion.

        Raises:
            RunFailed: a reward that raises, or that is not a finite number: training on it would
                end in NaN. It names the step and the sample.
        """
        step = "" if trainer_state is None else f" at step {trainer_state.global_step + 1}"
        own = {name: value for name, value in columns.items() if name not in NOT_COLUMNS}
        try:
            scores = self.reward.score(prompts, completions, own)
        except UserError:
            raise
        except RunFailed as error:  # a reward that tells by itself what is wrong
            raise RunFailed(f"{error.what}{step}", error.cause, error.remedy) from error
        except Exception as error:
            sample = self._culprit(prompts, completions, own)
            raise RunFailed(
                f"the reward {self.reward.name} raised {type(error).__name__}: {error}{step}, for "
                f"{sample}",
                "a text that the reward does not expect, such as an empty one",
                "mend the reward, so that it gives every completion a number",
            ) from error
        self._check(scores, prompts, completions, step)
        if log_metric is not None:
            for name, values in scores.terms.items():
                log_metric(f"reward_{name}", fmean(values))
        return scores.total

    def _check(
        self, scores: Scores, prompts: list[Text], completions: list[Text], step: str
    ) -> None:
        for index, value in enumerate(scores.total):
            if not math.isfinite(value):
                raise RunFailed(
                    f"the reward {self.reward.name} gave {value}{step} for "
                    f"{_named(index, prompts, completions)}",
                    "a division by zero, or a text that the reward does not expect",
                    "mend the reward, or bound its value",
                )

    def _culprit(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> str:
        """The first sample for which the reward raises alone as well."""
        for index in range(len(completions)):
            here = slice(index, index + 1)
            alone = {name: values[here] for name, values in columns.items()}
            try:
                self.reward.score(prompts[here], completions[here], alone)
            except Exception:  # what it raised for the batch is told
                return _named(index, prompts, completions)
        return f"{len(completions)} samples together, though for none of them alone"


def _named(index: int, prompts: list[Text], completions: list[Text]) -> str:
    return f"sample {index}, the completion {completions[index]!r} of the prompt {prompts[index]!r}"
