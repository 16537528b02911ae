"""What a reward demands of the algorithm's answers: several to a prompt, or long ones."""

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


def penalty_is_felt(algo: AlgoSpec, reward: RewardSpec) -> Problems:
    """A penalty of long answers begins below the longest that is sampled."""
    if not isinstance(algo, RolloutAlgo):
        return []
    longest = algo.max_completion_length
    return [
        _unfelt(f"reward.terms.{name}.limit" if name else "reward.limit", start, longest)
        for name, term in reward.terms_by_name().items()
        if (start := term.reward.penalised_from()) is not None and start >= longest
    ]


def _unfelt(key: str, start: float, longest: int) -> Problem:
    got = f"a limit whose penalty begins at {start:g} tokens"
    want = f"one that begins below algo.max_completion_length={longest}, the longest answer"
    return Problem(key, got, want, f"Set {key}={longest}.")


def _remedy(algo: AlgoSpec) -> str:
    if isinstance(algo, RolloutAlgo) and hasattr(algo, "num_generations"):
        return f"Set algo.num_generations=4, or {KEY}=zscore."
    return f"Set {KEY}=zscore."
