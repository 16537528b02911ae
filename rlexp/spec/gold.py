"""Gold rewards: measured beside the reward that is trained on, and never trained on.

What the training cannot push up by gaming it says whether the model has become better.
"""

from __future__ import annotations

from typing import Any

from rlexp.spec.components import component_of
from rlexp.spec.errors import Problem
from rlexp.spec.reward import RewardSpec


def gold_rewards(gold: dict[str, dict[str, Any]]) -> tuple[dict[str, RewardSpec], list[Problem]]:
    """Return the rewards of `eval.gold` by name, and what is wrong with them."""
    problems: list[Problem] = []
    rewards: dict[str, RewardSpec] = {}
    for name, config in gold.items():
        key = f"eval.gold.{name}"
        if not name.replace("_", "").replace("-", "").isalnum():
            want = "a name of letters, digits, - and _, to be the name of a metric"
            problems.append(Problem(key, repr(name), want))

        def refused(kind: type[RewardSpec], key: str = key) -> Problem | None:
            if kind.scores_anything:
                return None
            return Problem(key, kind.__name__, "a reward that scores something")

        reward = component_of(config, RewardSpec, key, [], problems, refused)
        if reward is not None:
            rewards[name] = reward
    return rewards, problems
