"""From what lm-eval measured of each document to metrics, intervals, and sums by document.

A metric's value is lm-eval's own. Most are a ratio of sums over documents (a mean, or the exponent
of one), so that their intervals, and the paired ones of their changes, are those of any metric of a
run. The others are resampled by lm-eval's own function, and their changes have no interval.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlexp.evaluation.bootstrap import CONFIDENCE, bootstrap_ratio
from rlexp.evaluation.metrics import BENCHMARK, find_metric
from rlexp.evaluation.ratios import metric_of_ratio
from rlexp.evaluation.results import BenchmarkScore, Ratio

SLOW_RESAMPLES = 200
"""Resamples of a metric that is no ratio: each calls lm-eval's function on all documents."""

_NO_METRICS = frozenset({"name", "alias", "sample_len", "sample_count"})
_RATIOS: dict[str, Callable[[Any], tuple[float, float]]] = {
    "mean": lambda value: (float(value), 1.0),
    "bits_per_byte": lambda value: (-float(value[0]) / math.log(2), float(value[1])),
    "perplexity": lambda value: (-float(value), 1.0),
    "weighted_perplexity": lambda value: (-float(value[0]), float(value[1])),
}
"""lm-eval's aggregations that are ratios of sums, with a document's part of both; the ratios of the
last two are logarithms of the metric."""
_LOGARITHMS = ("perplexity", "weighted_perplexity")

Column = list[Any]
"""A metric of each document of a task; None where a document has none."""


@dataclass
class BenchmarkResults:
    """What the benchmarks of one evaluation found, by metric as in `Evaluation`."""

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    ratios: dict[str, Ratio] = field(default_factory=dict)
    scores: dict[str, BenchmarkScore] = field(default_factory=dict)


def collect_scores(
    results: Mapping[str, Any], loaded: Mapping[str, Any], resamples: int, seed: int
) -> BenchmarkResults:
    """Return the scores of what was asked for; a group that lm-eval aggregates stands for its
    tasks.

    Args:
        results: of `lm_eval.evaluator.evaluate`, with the samples.
        loaded: tasks and groups, as `TaskManager.load` gave them.
        resamples: of the documents, for the intervals.
        seed: of the resampling.
    """
    collected = BenchmarkResults()
    groups = loaded.get("groups", {})
    for name in _reported(results, loaded):
        tasks = groups[name].get_all_tasks() if name in groups else [loaded["tasks"][name]]
        for metric, filter_name, value in _numbers(results, name):
            full = metric_name(name, metric, filter_name)
            samples = [results["samples"][task.task_name] for task in tasks]
            columns = [_column(documents, metric, filter_name) for documents in samples]
            collected.metrics[full] = value
            collected.scores[full] = BenchmarkScore(
                name,
                metric if filter_name == "none" else f"{metric} ({filter_name})",
                documents=sum(map(len, columns)),
                few_shot=results["n-shot"].get(name),
                higher_is_better=results["higher_is_better"].get(name, {}).get(metric),
            )
            aggregations = [task.aggregation().get(metric) for task in tasks]
            ratio = _ratio(full, aggregations, columns, _weights(groups.get(name), metric, columns))
            if ratio is not None:
                collected.ratios[full] = ratio
                ends = bootstrap_ratio(*_known(ratio), resamples, seed)
                ends = ends and (metric_of_ratio(full, ends[0]), metric_of_ratio(full, ends[1]))
            else:
                ends = _resampled(aggregations, columns, min(resamples, SLOW_RESAMPLES), seed)
            if ends is not None:
                collected.intervals[full] = ends
    return collected


def metric_name(task: str, metric: str, filter_name: str = "none") -> str:
    """Return the name of a score, as cards and MLflow have it behind `eval/`.

    >>> metric_name("arc_easy", "acc"), metric_name("gsm8k", "exact_match", "strict-match")
    ('benchmark_arc_easy_acc', 'benchmark_gsm8k_exact_match_strict-match')
    """
    words = [task, metric] if filter_name == "none" else [task, metric, filter_name]
    return BENCHMARK + re.sub(r"[^\w.-]+", "_", "_".join(words))


def _reported(results: Mapping[str, Any], loaded: Mapping[str, Any]) -> Iterator[str]:
    """Yield groups that have numbers and stand in no such group, and the tasks in none."""
    covered: set[str] = set()
    for name, group in loaded.get("groups", {}).items():
        if any(_numbers(results, name)):
            inner = [*group.get_all_tasks(), *group.get_all_groups()]
            covered |= {getattr(one, "task_name", None) or one.name for one in inner} - {name}
    for name in [*loaded.get("groups", {}), *loaded["tasks"]]:
        if name not in covered and any(_numbers(results, name)):
            yield name


def _numbers(results: Mapping[str, Any], name: str) -> Iterator[tuple[str, str, float]]:
    """Yield metric, filter and value of all numbers of a task or group but standard errors."""
    values = results.get("groups", {}).get(name) or results["results"].get(name, {})
    for key, value in values.items():
        metric, _, filter_name = key.partition(",")
        if key in _NO_METRICS or metric.endswith("_stderr") or isinstance(value, str):
            continue
        yield metric, filter_name, float(value)


def _column(documents: Sequence[Mapping[str, Any]], metric: str, filter_name: str) -> Column:
    of_filter = [document for document in documents if document["filter"] == filter_name]
    ordered = sorted(of_filter, key=lambda document: document["doc_id"])
    return [document.get(metric) for document in ordered]


def _weights(group: Any, metric: str, columns: Sequence[Column]) -> list[float]:
    """Return what a document of each task weighs: lm-eval lets the mean over a task's documents
    count as much as the task has documents, or as that of any other task."""
    if group is None:
        return [1.0]
    configs = group.aggregate_metric_list
    by_size = all(config.weight_by_size for config in configs if config.metric == metric)
    known = [sum(value is not None for value in column) for column in columns]
    return [
        (len(column) if by_size else 1) / max(1, count)
        for column, count in zip(columns, known, strict=True)
    ]


def _ratio(
    full_name: str,
    aggregations: Sequence[Any],
    columns: Sequence[Column],
    weights: Sequence[float],
) -> Ratio | None:
    """Return a metric's sums by document, over all tasks; None where it is no ratio of sums."""
    name = getattr(aggregations[0], "__name__", "")
    of_lm_eval = getattr(aggregations[0], "__module__", "") == "lm_eval.api.metrics"
    if not of_lm_eval or name not in _RATIOS or set(aggregations) != {aggregations[0]}:
        return None
    if (name in _LOGARITHMS) != (find_metric(full_name).mean == "perplexity"):
        return None
    if len(columns) > 1 and name != "mean":  # a mean of perplexities is no perplexity
        return None
    sums: list[float] = []
    counts: list[float] = []
    for column, weight in zip(columns, weights, strict=True):
        parts = [(0.0, 0.0) if value is None else _RATIOS[name](value) for value in column]
        sums += [above * weight for above, _ in parts]
        counts += [below * weight for _, below in parts]
    return sums, counts


def _known(ratio: Ratio) -> Ratio:
    pairs = [(above, below) for above, below in zip(*ratio, strict=True) if below]
    return [above for above, _ in pairs], [below for _, below in pairs]


def _resampled(
    aggregations: Sequence[Any], columns: Sequence[Column], resamples: int, seed: int
) -> tuple[float, float] | None:
    """Return a single task's 95 % interval by lm-eval's own function; None of a group's metric."""
    items = [value for value in columns[0] if value is not None]
    if len(columns) > 1 or len(items) < 2 or aggregations[0] is None:
        return None
    import numpy as np

    draw = random.Random(seed)
    values = [float(aggregations[0](draw.choices(items, k=len(items)))) for _ in range(resamples)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
