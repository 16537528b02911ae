"""The metrics of evaluations: one table, read by cards, pages, comparisons, sweeps and guards.

To add a metric is to add an entry. The mean over completions of what a function says of each needs
nothing else: the function stands in the entry (`of_sample`), and evaluations, the samples table,
cards and comparisons have it. Any other kind of metric is put among the results where it is made.

Imports nothing heavy: the check of a command line reads the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rlexp.evaluation.results import Sample
    from rlexp.spec.run import RunSpec

TERM, GOLD = "reward_", "gold_"
"""Begin the names of two families: the reward's terms, and the rewards of `eval.gold`."""
BENCHMARK = "benchmark_"
"""Begins the names of the scores of `eval.benchmarks`."""
BY_SOURCE = ("reward", "accuracy", "perplexity")
"""Metrics that are measured for each source of a mix as well."""

Mean = Literal["completion", "token", "perplexity", "prompt", "none"]
"""Over what a metric is averaged: completions, tokens, exp of the mean over tokens, prompts; or it
is counted over all of them at once, and its changes have no interval."""


def _samples_text(run: RunSpec) -> bool:
    return run.algo.model_kind.writes


def _earns_reward(run: RunSpec) -> bool:
    return _samples_text(run) and run.reward.scores_anything


def _keeps_answers(run: RunSpec) -> bool:
    return run.algo.needs_reward and not run.algo.trains


def _ranks_pairs(run: RunSpec) -> bool:
    return not run.algo.model_kind.writes


@dataclass(frozen=True)
class Metric:
    """One metric, by its name without the group `eval/`."""

    name: str
    label: str
    """What cards call it."""
    mean: Mean = "completion"
    better: Literal["higher", "lower", "neither"] = "neither"
    format: Literal["number", "share"] = "number"
    """A share's bar runs from 0 to 1."""
    applies: Callable[[RunSpec], bool] = _samples_text
    """Whether a run's evaluations measure it."""
    of_sample: Callable[[Sample], float | None] | None = None
    """Its value for one completion, None where that has none; for means over completions."""
    guards: Literal["", "probe", "rollout"] = ""
    """Where guards watch it: in their small evaluations (probes), or in the training's own
    completions as well."""
    of_reference: bool = False
    """Whether it says something of the distance to a reference."""
    place: int = 0
    """Of its line in a comparison: below 0 before the others, above 0 behind them; those of one
    place stand by name."""


# fmt: off
METRICS: tuple[Metric, ...] = (
    Metric("reward", "reward", "completion", "higher", "number", _earns_reward,
           guards="probe", place=-3),
    Metric("accuracy", "pairs in the right order", "prompt", "higher", "number", _ranks_pairs,
           place=-2),
    Metric("margin", "margin, chosen above rejected", "prompt", "higher", "number",
           lambda run: _ranks_pairs(run) or _keeps_answers(run)),
    Metric("ties", "prompts whose answers all earn the same", "prompt", "lower", "share",
           _keeps_answers),
    Metric("rows", "rows kept", "none", "higher", applies=_keeps_answers),
    Metric("tokens", "tokens sampled", "none", applies=_keeps_answers),
    Metric("log_loss", "log loss of the pairs", "prompt", "lower", "number", _ranks_pairs),
    Metric("brier", "Brier score of the pairs", "prompt", "lower", "number", _ranks_pairs),
    Metric("calibration_error", "calibration error", "none", "lower", "share", _ranks_pairs),
    Metric("kl", "KL, nats a token", "token", "lower",
           guards="probe", of_reference=True, place=2),
    Metric("kl_sequence", "KL, nats an answer", "completion", "lower", of_reference=True),
    Metric("perplexity", "perplexity of held-out texts", "perplexity", "lower", "number",
           lambda run: _samples_text(run) and run.eval.texts > 0, guards="probe", place=5),
    Metric("reference_perplexity", "samples' perplexity to the reference", "perplexity", "lower",
           guards="probe", of_reference=True),
    Metric("win_rate", "win rate by reward", "prompt", "higher", "share", _earns_reward),
    Metric("judge_win_rate", "win rate by judge", "prompt", "higher", "share",
           lambda run: _samples_text(run) and run.eval.judge is not None),
    Metric("grammatical", "grammatical sentences", "completion", "higher", "share",
           lambda run: _samples_text(run) and run.data.grammatical is not None,
           of_sample=lambda sample: sample.grammatical, guards="rollout", place=1),
    Metric("length", "length, tokens", "completion", "neither",
           of_sample=lambda sample: float(sample.length), guards="rollout", place=3),
    Metric("ended", "ended before the limit", "completion", "higher", "share",
           of_sample=lambda sample: float(sample.ended), place=4),
    Metric("thinking_unfinished", "thinking that never ended", "completion", "lower", "share",
           lambda run: _samples_text(run) and not run.model.thinking.in_rewards,
           of_sample=lambda sample: sample.thought and float(not sample.thought.ended),
           place=4),
    Metric("distinct_1", "distinct tokens", "none", "higher", "share", place=6),
    Metric("distinct_2", "distinct token pairs", "none", "higher", "share",
           guards="rollout", place=7),
)
# fmt: on
"""In the order of a card's lines."""


def source_metric(metric: str, source: str) -> str:
    """Return the name of a metric for one source of a mix.

    >>> source_metric("reward", "chat"), find_metric("source_reward_chat").label
    ('source_reward_chat', '  of chat')
    """
    return f"source_{metric}_{source}"


def metric_and_source(name: str) -> tuple[str, str]:
    """Return what `source_metric` made a name of; the name itself and nothing for any other."""
    for metric in BY_SOURCE:
        if name.startswith(prefix := source_metric(metric, "")):
            return metric, name.removeprefix(prefix)
    return name, ""


def find_metric(name: str) -> Metric:
    """Return the entry of a metric; one of a family, or an unknown one, gets an entry by its name.

    >>> find_metric("kl").label, find_metric("reward_few").label, find_metric("mine").label
    ('KL, nats a token', '  few', 'mine')
    >>> find_metric("benchmark_arc_easy_acc").label
    'benchmark arc_easy_acc'
    """
    for metric in METRICS:
        if metric.name == name:
            return metric
    if name.startswith(TERM):
        return Metric(name, f"  {name.removeprefix(TERM)}", place=-1)
    if name.startswith(BENCHMARK):
        mean: Mean = "perplexity" if name.endswith("perplexity") else "prompt"
        return Metric(name, f"benchmark {name.removeprefix(BENCHMARK)}", mean)
    metric, source = metric_and_source(name)
    if source:
        return replace(find_metric(metric), name=name, label=f"  of {source}", guards="")
    return Metric(name, name)


def sample_metrics() -> dict[str, Callable[[Sample], float | None]]:
    """Return the metrics that are means over completions, each with its value for one of them."""
    return {metric.name: metric.of_sample for metric in METRICS if metric.of_sample is not None}


def applying(run: RunSpec) -> list[str]:
    """Return the names of the metrics that a run's evaluations measure, without terms and gold."""
    names = [metric.name for metric in METRICS if metric.applies(run)]
    parted = [name for name in names if name in BY_SOURCE]
    sources = run.data.source_names
    return [*names, *(source_metric(name, source) for name in parted for source in sources)]


def in_card_order(names: Iterable[str]) -> list[str]:
    """Sort metrics as cards show them: as in the table, terms and sources behind their metric,
    others last.

    >>> in_card_order(["mine", "kl", "source_reward_c", "reward_b", "reward_a", "reward"])
    ['reward', 'reward_a', 'reward_b', 'source_reward_c', 'kl', 'mine']
    """
    places = {metric.name: float(index) for index, metric in enumerate(METRICS)}

    def rank(name: str) -> tuple[float, str]:
        if name.startswith(TERM):
            return places["reward"] + 0.25, name
        metric, source = metric_and_source(name)
        return places.get(metric, math.inf) + (0.5 if source else 0.0), name

    return sorted(names, key=rank)


def in_comparison_order(names: Iterable[str]) -> list[str]:
    """Sort metrics as comparisons show them.

    >>> in_comparison_order(["length", "kl", "margin", "grammatical", "reward_a", "reward"])
    ['reward', 'reward_a', 'margin', 'grammatical', 'kl', 'length']
    """
    return sorted(names, key=lambda name: (find_metric(name).place, name))


def without_lone_term(names: Iterable[str], measured: Sequence[Mapping[str, object]]) -> list[str]:
    """Leave out the reward's only term where all that was measured gives it the reward's own value.

    >>> without_lone_term(["reward", "reward_a"], [{"reward": 0.5, "reward_a": 0.5}])
    ['reward']
    """
    names = list(names)
    terms = [name for name in names if name.startswith(TERM)]
    if len(terms) == 1 and all(each.get(terms[0]) == each.get("reward") for each in measured):
        names.remove(terms[0])
    return names


def reference_metrics() -> tuple[str, ...]:
    """Return the metrics that say something of the distance to a reference."""
    return tuple(metric.name for metric in METRICS if metric.of_reference)


def is_probed(name: str) -> bool:
    """Return whether the guards' small evaluations keep a metric: gold rewards they always do."""
    return bool(find_metric(name).guards) or name.startswith(GOLD)


def rollout_metrics() -> dict[str, str]:
    """Return the metrics that guards watch in the training's own completions, by tracked name."""
    return {
        metric.name: f"rollout/{metric.name}" for metric in METRICS if metric.guards == "rollout"
    }
