"""What a judge demands of the other parts of a config."""

from __future__ import annotations

from rlexp.spec.algo import AlgoSpec, RolloutAlgo
from rlexp.spec.checks.algo_data import unread_columns
from rlexp.spec.data import DataSpec
from rlexp.spec.errors import Problem
from rlexp.spec.eval import EvalSpec
from rlexp.spec.judge import needs_rivals
from rlexp.spec.reward import RewardSpec


def judge_is_right(evaluation: EvalSpec) -> list[Problem]:
    return evaluation.judge_checked[1]


def judge_can_compare(algo: AlgoSpec, data: DataSpec, evaluation: EvalSpec) -> list[Problem]:
    """The judge of the evaluation wants completions, and the columns that its question names."""
    judge, key = evaluation.judge_checked[0], "eval.judge"
    if judge is None:
        return []
    if not algo.model_kind.writes:
        want = f"null: algo={algo.name} trains a model that writes nothing"
        return [Problem(key, judge.name, want, "Set eval.judge=null.")]
    return unread_columns(data, key, judge.pair_columns())


def rivals_are_sampled(algo: AlgoSpec, evaluation: EvalSpec, reward: RewardSpec) -> list[Problem]:
    """A reward that compares the completions to a prompt wants more than one of them."""
    if not needs_rivals(reward):
        return []
    problems, want = [], f"2 at least: reward={reward.name} compares the completions to a prompt"
    if algo.evaluates and evaluation.completions < 2:
        got = str(evaluation.completions)
        problems.append(Problem("eval.completions", got, want, "Set eval.completions=2."))
    if isinstance(algo, RolloutAlgo) and algo.needs_reward and algo.answers_a_prompt < 2:
        got = f"{algo.name}, which samples one completion a prompt"
        problems.append(
            Problem("algo", got, want, "Choose algo=grpo, rloo, reinforce or online_dpo.")
        )
    return problems
