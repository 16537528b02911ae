"""What a curriculum demands of the algorithm, the data and the reward."""

from __future__ import annotations

from difflib import get_close_matches

from rlexp.spec.algo import AlgoSpec, RolloutAlgo
from rlexp.spec.checks.algo_data import unread_columns
from rlexp.spec.curriculum import CurriculumSpec
from rlexp.spec.data import SOURCE, DataSpec
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.reward import RewardSpec

OWN_ORDER = ("shuffle_dataset", "train_sampling_strategy")
"""TRL fields that say in which order a trainer takes its rows."""


def pace_is_heard(algo: AlgoSpec, curriculum: CurriculumSpec) -> Problems:
    """A pace by reward follows rollouts, which not every algorithm has."""
    pace = curriculum.opening
    samples = isinstance(algo, RolloutAlgo) and algo.needs_reward
    if pace is None or pace.by == "step" or samples:
        return []
    got = f"reward with algo={algo.name}, which earns none while it trains"
    remedy = "Set curriculum.pace.by=step, or curriculum=length."
    return [Problem("curriculum.pace.by", got, "step", remedy)]


def order_is_free(algo: AlgoSpec, curriculum: CurriculumSpec, data: DataSpec) -> Problems:
    """Nothing else may decide which rows a batch has."""
    if curriculum.draws and not algo.trains:
        want = f"none: algo={algo.name} trains nothing"
        return [Problem("curriculum", curriculum.name, want, "Set curriculum=none.")]
    if not algo.trains or not (curriculum.draws or data.source_names):
        return []
    decides = f"curriculum={curriculum.name}" if curriculum.draws else f"data={data.name}"
    want = f"left out: {decides} decides which rows a batch has"
    remedy = "Or set curriculum=none." if curriculum.draws else ""
    problems = [
        Problem(f"algo.trl.{name}", str(algo.trl[name]), want, remedy)
        for name in OWN_ORDER
        if name in algo.trl
    ]
    if getattr(algo, "packing", False):
        want = f"false with {decides}: packed sequences are no rows"
        problems.append(Problem("algo.packing", "true", want, "Set algo.packing=false."))
    return problems


def policy_can_answer(algo: AlgoSpec, curriculum: CurriculumSpec, reward: RewardSpec) -> Problems:
    """A policy that is to rate prompts by its own answers writes, and has a reward."""
    if not curriculum.samples:
        return []
    problems = []
    if not reward.scores_anything:
        want = f"a reward: curriculum={curriculum.name} has the policy's own answers judged"
        remedy = "Set reward=sentiment, or another choice that `--help` lists."
        problems.append(Problem("reward", reward.name, want, remedy))
    if not algo.model_kind.writes:
        got = f"{curriculum.name} with algo={algo.name}, which trains a model that writes nothing"
        remedy = "Set curriculum=length."
        problems.append(Problem("curriculum", got, "one that needs no answers", remedy))
    return problems


def column_is_there(curriculum: CurriculumSpec, data: DataSpec) -> Problems:
    """The column that is ordered or weighted by is one of the data's, as far as these are known."""
    column, key = curriculum.column_read, "curriculum.column"
    if column is None or not (problems := unread_columns(data, key, {column})):
        return []
    first, *others = data.sources_by_name().values()
    if others or column in first.source_columns():
        return problems
    return [no_column(column, sorted(first.extra_columns() or ()), key)]


def weights_are_said_once(curriculum: CurriculumSpec, data: DataSpec) -> Problems:
    """The weights of a mixture are the data's or the curriculum's own, and are there."""
    of_data, own = any(data.weights()), curriculum.shares()
    if of_data and own:
        want = f"{{}}: data={data.name} has weights of its own"
        remedy = "Set curriculum=none, and weigh each source at data.sources.NAME.weight."
        return [Problem("curriculum.weights", ", ".join(own), want, remedy)]
    if curriculum.weighs and of_data and curriculum.column_read != SOURCE:
        want = f"{SOURCE}, by which data={data.name} has its weights"
        remedy = f"Set curriculum.column={SOURCE}; or type curriculum=none in its place."
        return [Problem("curriculum.column", str(curriculum.column_read), want, remedy)]
    if curriculum.weighs and not of_data and not own:
        want = f"the weights of the values of {curriculum.column_read!r}"
        remedy = "Set +curriculum.weights.VALUE=1 for each of them."
        return [Problem("curriculum.weights", "{}", want, remedy)]
    return []


def no_column(column: str, columns: list[str], key: str) -> Problem:
    """Return the problem of a column that the data does not have."""
    near = get_close_matches(column, columns, n=1)
    has = f"one of {', '.join(columns)}" if columns else "a column of the data, which has none"
    remedy = f"Did you mean {key}={near[0]}?" if near else "Type curriculum=length in its place."
    return Problem(key, repr(column), has, remedy)
