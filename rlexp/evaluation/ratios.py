"""What an evaluation averages, and over what: each metric as a ratio of sums, kept by prompt.

From the sums of each prompt come the metric, its interval, and, once there are two evaluations of
the same prompts, the interval of its change. A perplexity is exp of nats over tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.results import Ratio, in_groups
from rlexp.spec.reward import Value

if TYPE_CHECKING:
    from rlexp.evaluation.results import Sample

PERPLEXITIES = frozenset({"perplexity", "reference_perplexity"})
"""Metrics that are exp of their ratio."""
_LARGEST = 700.0  # of which a float can hold exp

Ratios = Mapping[str, Ratio]


def sample_ratios(
    samples: Sequence[Sample], kl: Sequence[float], surprises: Sequence[float]
) -> dict[str, Ratio]:
    """What is averaged over completions: each counts 1, but what is a token's by its tokens.

    Args:
        samples: n of them.
        kl: (n,) nats from the policy to its reference along each.
        surprises: (n,) nats by which each surprises the reference.
    """
    ones = [1.0] * len(samples)
    lengths = [float(sample.length) for sample in samples]
    measured: dict[str, Ratio] = {
        "kl": (list(kl), lengths),
        "kl_sequence": (list(kl), ones),
        "length": (lengths, ones),
        "ended": ([float(sample.ended) for sample in samples], ones),
        "reference_perplexity": (list(surprises), lengths),
    }
    grammatical = [sample.grammatical for sample in samples if sample.grammatical is not None]
    if grammatical:
        measured["grammatical"] = (grammatical, ones)
    if any(sample.reward is not None for sample in samples):
        measured |= _with_missing("reward", [sample.reward for sample in samples])
    for name in samples[0].gold:
        measured |= _with_missing(f"gold_{name}", [sample.gold[name] for sample in samples])
    for term in samples[0].terms:
        measured |= _with_missing(f"reward_{term}", [sample.terms[term] for sample in samples])
    return measured


def _with_missing(name: str, values: Sequence[Value]) -> dict[str, Ratio]:
    """The mean of the values that are there, and, if some are not, the share of those."""
    known = [float(value is not None) for value in values]
    measured = {name: ([value or 0.0 for value in values], known)}
    if 0.0 in known:
        measured[f"{name}_missing"] = ([1.0 - each for each in known], [1.0] * len(known))
    return measured


def sum_by_prompt(measured: Ratios, sizes: Sequence[int]) -> dict[str, Ratio]:
    """The same with the sums of each group of neighbours, such as the completions to a prompt."""
    return {
        name: (
            [sum(each) for each in in_groups(above, sizes)],
            [sum(each) for each in in_groups(below, sizes)],
        )
        for name, (above, below) in measured.items()
    }


def averages(
    ratios: Ratios, resamples: int, seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Metrics and their 95 % intervals; what is missing altogether is left out."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, (sums, counts) in ratios.items():
        if not sum(counts):
            continue
        metrics[name] = metric_of_ratio(name, sum(sums) / sum(counts))
        some = [(of, count) for of, count in zip(sums, counts, strict=True) if count]
        ends = bootstrap_ratio([of for of, _ in some], [n for _, n in some], resamples, seed)
        if ends:
            intervals[name] = (metric_of_ratio(name, ends[0]), metric_of_ratio(name, ends[1]))
    return metrics, intervals


def metric_of_ratio(metric: str, ratio: float) -> float:
    """What a metric says where its ratio is this.

    >>> metric_of_ratio("length", 3.0), metric_of_ratio("perplexity", 1e4)
    (3.0, inf)
    """
    if metric not in PERPLEXITIES:
        return ratio
    return math.exp(ratio) if ratio < _LARGEST else math.inf
