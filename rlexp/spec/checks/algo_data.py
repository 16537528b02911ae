"""Whether the data has what the algorithm and its reward read."""

from __future__ import annotations

from rlexp.spec.algo import AlgoSpec
from rlexp.spec.data import (
    DERIVABLE,
    KIND_COLUMNS,
    SOURCE,
    DataSource,
    DataSpec,
    source_key,
)
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.eval import EvalSpec
from rlexp.spec.reward import RewardSpec
from rlexp.spec.rows import pairs_are_matched, rows_are_sampled

_CANONICAL = {column for columns in KIND_COLUMNS.values() for column in columns}


def data_feeds_algo(algo: AlgoSpec, data: DataSpec, reward: RewardSpec) -> Problems:
    sources = data.sources_by_name()
    problems = [
        _unfit(source_key(name), source, algo)
        for name, source in sources.items()
        if not _feeds(algo, source, reward)
    ]
    if problems:
        return problems
    (first, way), *others = ((name, _way(algo, source)) for name, source in sources.items())
    return [_two_ways(name, other, first, way, algo.name) for name, other in others if other != way]


def _feeds(algo: AlgoSpec, data: DataSource, reward: RewardSpec) -> bool:
    if rows_are_sampled(algo, data):
        return reward.scores_anything
    kind, needs = data.kind(), algo.needs
    return pairs_are_matched(algo, data) or kind == needs or kind in DERIVABLE[needs]


def _unfit(key: str, data: DataSource, algo: AlgoSpec) -> Problem:
    needs, remedy = algo.needs, "Choose another data set or algorithm"
    if algo.matches_labels:
        remedy = "Choose data with labels, or set algo.labels=reward"
    elif algo.sampling is not None:
        remedy = "Choose a reward (reward=sentiment, …): it judges answers sampled from the model"
    ways = [needs, *DERIVABLE[needs], *(["unpaired"] if algo.matches_labels else [])]
    want = f"{' or '.join(ways)} for algo={algo.name}"
    return Problem(key, f"{data.name}, which holds {data.kind()}", want, f"{remedy}.")


def _way(algo: AlgoSpec, data: DataSource) -> str:
    """Return of what the training rows of a data set are made, in words."""
    if rows_are_sampled(algo, data):
        return "answers that are sampled from the model"
    return "texts that are matched by label" if pairs_are_matched(algo, data) else "its own rows"


def _two_ways(name: str, way: str, other: str, others_way: str, algo: str) -> Problem:
    """Return the problem of a mix whose sources would be learnt from in two ways."""
    want = f"{others_way}, as {source_key(other)} has them: one way for all sources"
    remedy = f"Leave {name} or {other} out."
    return Problem(source_key(name), f"{way} for algo={algo}", want, remedy)


def algo_has_reward(algo: AlgoSpec, reward: RewardSpec) -> Problems:
    if not algo.needs_reward or reward.scores_anything:
        return []
    remedy = "Set reward=sentiment, or another choice that `--help` lists."
    return [Problem("reward", "none", f"a reward: algo={algo.name} learns from one", remedy)]


def algo_finds_columns(algo: AlgoSpec, data: DataSpec) -> Problems:
    return [
        problem
        for key, wanted in algo.columns().items()
        for problem in unread_columns(data, key, wanted)
    ]


def reward_finds_columns(data: DataSpec, reward: RewardSpec) -> Problems:
    return unread_columns(data, "reward", reward.columns())


def unread_columns(data: DataSpec, key: str, wanted: set[str]) -> Problems:
    """Return the problems of columns that a reward at `key` reads and rows do not have.

    Each source of a mix must have them; `source` all its rows have.
    """
    return [
        _unread_column(source, name, columns, key, column)
        for name, source in data.sources_by_name().items()
        if (columns := source.extra_columns()) is not None
        for column in sorted(wanted - columns - ({SOURCE} if name else set()))
    ]


def _unread_column(
    data: DataSource, source: str, columns: set[str], key: str, column: str
) -> Problem:
    got, known = f"one that reads the column {column!r}", data.source_columns()
    called = f"{data.name} ({source_key(source)})" if source else data.name
    if column in known and column in _CANONICAL:
        want = "a column that says nothing else: this one is the prompt, an answer or its label"
        return Problem(key, got, want, "Give it in the file under a name of its own as well.")
    if column in known:
        wanted, extra = ",".join(sorted({*columns, column})), f"{source_key(source)}.extra"
        want = f"one that {extra} keeps; {called} has it, and it is left out"
        return Problem(key, got, want, f"Set {extra}=[{wanted}].")
    has = f"; it has {', '.join(sorted(known or columns))}" if known or columns else ""
    remedy = f"Leave {source} out of the mix." if source else f"Is data={data.name} right?"
    return Problem(key, got, f"a column of {called}{has}", remedy)


def gold_is_right(evaluation: EvalSpec) -> Problems:
    return evaluation.gold_checked[1]


def gold_finds_columns(data: DataSpec, evaluation: EvalSpec) -> Problems:
    return [
        problem
        for name, reward in evaluation.gold_checked[0].items()
        for problem in unread_columns(data, f"eval.gold.{name}", reward.columns())
    ]
