"""What a reward that is normalised within groups of answers demands of the algorithm."""

from __future__ import annotations

from rlexp.spec.algo import AlgoSpec, RolloutAlgo
from rlexp.spec.data import DataSpec
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.reward import RewardSpec
from rlexp.spec.rows import rows_are_sampled

KEY = "reward.normalize"


def groups_are_there(algo: AlgoSpec, data: DataSpec, reward: RewardSpec) -> Problems:
    """Where answers earn something while a policy learns, several of them answer one prompt."""
    if not any(term.normalize == "group" for term in reward.terms_by_name().values()):
        return []
    learns = algo.needs_reward or rows_are_sampled(algo, data)
    answers = algo.answers_a_prompt if isinstance(algo, RolloutAlgo) else 1
    if learns and answers < 2:
        got = f"group with algo={algo.name}, which scores each answer by itself"
        want = "an algorithm with groups of answers: grpo, rloo, online_dpo, or one with "
        want += "algo.num_generations of 2 or more (reinforce, ppo)"
        return [Problem(KEY, got, want, _remedy(algo))]
    # The group's own deviation would undo what the terms' gave: GDPO divides by the batch's.
    if getattr(algo, "scale_rewards", None) == "group":
        got = "group with algo.scale_rewards=group, which would normalise the total once more"
        want = "one of the two"
        return [Problem(KEY, got, want, "Set algo.scale_rewards=none.")]
    return []


def _remedy(algo: AlgoSpec) -> str:
    if isinstance(algo, RolloutAlgo) and hasattr(algo, "num_generations"):
        return f"Set algo.num_generations=4, or {KEY}=zscore."
    return f"Set {KEY}=zscore."
