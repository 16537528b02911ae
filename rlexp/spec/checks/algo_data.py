"""Whether the data has what the algorithm and its reward read."""

from __future__ import annotations

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import DERIVABLE, KIND_COLUMNS, DataSpec
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.eval import EvalSpec
from rlexp.spec.reward import RewardSpec
from rlexp.spec.rows import pairs_are_matched, rows_are_sampled

_CANONICAL = {column for columns in KIND_COLUMNS.values() for column in columns}


def data_feeds_algo(algo: AlgoSpec, data: DataSpec, reward: RewardSpec) -> Problems:
    kind, needs = data.kind(), algo.needs
    if rows_are_sampled(algo, data):
        enough = reward.scores_anything
    else:
        matched = pairs_are_matched(algo, data)
        enough = matched or kind == needs or kind in DERIVABLE[needs]
    if enough:
        return []
    remedy = "Choose another data set or algorithm"
    if algo.matches_labels:
        remedy = "Choose data with labels, or set algo.labels=reward"
    elif algo.sampling is not None:
        remedy = "Choose a reward (reward=sentiment, …): it judges answers sampled from the model"
    ways = [needs, *DERIVABLE[needs], *(["unpaired"] if algo.matches_labels else [])]
    return [
        Problem(
            "data",
            f"{data.name}, which holds {kind}",
            f"{' or '.join(ways)} for algo={algo.name}",
            f"{remedy}.",
        )
    ]


def algo_has_reward(algo: AlgoSpec, reward: RewardSpec) -> Problems:
    if not algo.needs_reward or reward.scores_anything:
        return []
    remedy = "Set reward=sentiment, or another choice that `--help` lists."
    return [Problem("reward", "none", f"a reward: algo={algo.name} learns from one", remedy)]


def reward_finds_columns(data: DataSpec, reward: RewardSpec) -> Problems:
    columns = data.extra_columns()
    if columns is None:
        return []
    missing = sorted(reward.columns() - columns)
    return [unread_column(data, columns, "reward", name) for name in missing]


def unread_column(data: DataSpec, columns: set[str], key: str, name: str) -> Problem:
    """Return the problem of a column that a reward at `key` reads, and rows do not have."""
    got = f"one that reads the column {name!r}"
    source = data.source_columns()
    if name in source and name in _CANONICAL:
        want = "a column that says nothing else: this one is the prompt, an answer or its label"
        return Problem(key, got, want, "Give it in the file under a name of its own as well.")
    if name in source:
        wanted = ",".join(sorted({*columns, name}))
        want = f"one that data.extra keeps; {data.name} has it, and it is left out"
        return Problem(key, got, want, f"Set data.extra=[{wanted}].")
    has = f"; it has {', '.join(sorted(source or columns))}" if source or columns else ""
    return Problem(key, got, f"a column of {data.name}{has}", f"Is data={data.name} right?")


def gold_is_right(evaluation: EvalSpec) -> Problems:
    return evaluation.gold_checked[1]


def gold_finds_columns(data: DataSpec, evaluation: EvalSpec) -> Problems:
    columns = data.extra_columns()
    if columns is None:
        return []
    return [
        unread_column(data, columns, f"eval.gold.{name}", column)
        for name, reward in evaluation.gold_checked[0].items()
        for column in sorted(reward.columns() - columns)
    ]
