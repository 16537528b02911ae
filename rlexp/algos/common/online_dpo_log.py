"""What TRL's OnlineDPOTrainer logs, in the words of the other algorithms.

It takes the KL and the entropy over the padding behind answers as well, and tells neither lengths
nor terms of the reward. The KL comes out of the implicit rewards, beta * log(policy / reference) of
whole answers without padding, whose mean over chosen and rejected is beta times the KL an answer.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, pstdev
from typing import Any

from transformers import TrainerCallback

from rlexp.algos.common.reward_function import RewardFunction
from rlexp.spec.reward import TOKENS

DROPPED = (
    "beta",
    "objective/entropy",
    "objective/kl",
    "objective/non_score_reward",
    "objective/rlhf_reward",
    "objective/scores",
    "val/contain_eos_token",
)


class OnlineDpoLog(TrainerCallback):
    """Scores answers, and adds metrics of them to the logs before other callbacks pass these on."""

    def __init__(self, reward: RewardFunction, eos_token_ids: list[int]) -> None:
        self.reward, self.ends = reward, set(eos_token_ids)
        self.seen: dict[str, list[float]] = defaultdict(list)

    def score(
        self,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        **columns: Any,
    ) -> list[float]:
        """Return the rewards, as TRL asks for them: `completion_ids` have padding behind them."""
        answers = [ids[: self._length(ids)] for ids in completion_ids]
        columns[TOKENS] = answers
        scores = self.reward(prompts, completions, self._record, **columns)
        self._record("reward", fmean(scores))
        self._record("reward_std", pstdev(scores))
        self._record("completions/mean_length", fmean(map(len, answers)))
        cut = map(self.ends.isdisjoint, answers)
        self._record("completions/clipped_ratio", fmean(cut))
        return scores

    def on_log(self, args, state, control, logs: dict[str, float] | None = None, **kwargs) -> None:
        if not logs or "objective/scores" not in logs:
            return
        implicit = (logs["rewards/chosen"] + logs["rewards/rejected"]) / 2
        beta = logs["beta"]
        for name in DROPPED:
            del logs[name]
        logs |= {name: fmean(values) for name, values in self.seen.items()}
        self.seen.clear()
        logs["rollout/kl_sequence"] = implicit / beta
        logs["rollout/reward_margin"] = logs.pop("objective/scores_margin")
        logs["kl"] = logs["rollout/kl_sequence"] / logs["completions/mean_length"]

    def _length(self, ids: list[int]) -> int:
        """Tokens up to and including the first end token."""
        return next((place for place, token in enumerate(ids, 1) if token in self.ends), len(ids))

    def _record(self, name: str, value: float) -> None:
        self.seen[name].append(value)
