"""What an evaluation averages, and over what: each metric as a ratio of sums, kept by prompt.

From the sums of each prompt come the metric, its interval, and, once there are two evaluations of
the same prompts, the interval of its change. A perplexity is exp of nats over tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.metrics import GOLD, TERM, find_metric, sample_metrics
from rlexp.evaluation.results import Ratio, Sample, in_groups
from rlexp.spec.reward import Value

_LARGEST = 700.0  # of which a float can hold exp

Ratios = Mapping[str, Ratio]


def sample_ratios(
    samples: Sequence[Sample], kl: Sequence[float], surprises: Sequence[float]
) -> dict[str, Ratio]:
    """Return what is averaged over completions: each counts 1, but what is a token's by its tokens.

    `kl` and `surprises` are (n,), nats along each of the n samples: from the policy to its
    reference, and by which the reference is surprised.
    """
    nats = {"kl": kl, "kl_sequence": kl, "reference_perplexity": surprises}
    values: dict[str, Sequence[Value]] = {**nats}
    values |= {name: [*map(value_of, samples)] for name, value_of in sample_metrics().items()}
    ratios = {
        name: _ratio(name, column, samples)
        for name, column in values.items()
        if any(value is not None for value in column)
    }
    if any(sample.reward is not None for sample in samples):
        ratios |= _with_missing("reward", [sample.reward for sample in samples])
    for name in samples[0].gold:
        ratios |= _with_missing(f"{GOLD}{name}", [sample.gold[name] for sample in samples])
    for term in samples[0].terms:
        ratios |= _with_missing(f"{TERM}{term}", [sample.terms[term] for sample in samples])
    return ratios


def _ratio(metric: str, values: Sequence[Value], samples: Sequence[Sample]) -> Ratio:
    """Return the values over 1, or over the sample's tokens; over 0 where there is none."""
    by_token = find_metric(metric).mean in ("token", "perplexity")
    weights = [float(sample.tokens) if by_token else 1.0 for sample in samples]
    return (
        [value or 0.0 for value in values],
        [0.0 if value is None else n for value, n in zip(values, weights, strict=True)],
    )


def _with_missing(name: str, values: Sequence[Value]) -> dict[str, Ratio]:
    """Return the mean of the values that are there, and, if some are not, the share of those."""
    known = [float(value is not None) for value in values]
    ratios: dict[str, Ratio] = {name: ([value or 0.0 for value in values], known)}
    if 0.0 in known:
        ratios[f"{name}_missing"] = ([1.0 - one for one in known], [1.0] * len(known))
    return ratios


def sum_by_prompt(measured: Ratios, sizes: Sequence[int]) -> dict[str, Ratio]:
    """Sum the ratios of each group of neighbours, such as the completions to a prompt."""
    return {
        name: ([*map(sum, in_groups(above, sizes))], [*map(sum, in_groups(below, sizes))])
        for name, (above, below) in measured.items()
    }


def averages(
    ratios: Ratios, resamples: int, seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return metrics and their 95 % intervals; what is missing altogether is left out."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, (sums, counts) in ratios.items():
        if not sum(counts):
            continue
        metrics[name] = metric_of_ratio(name, sum(sums) / sum(counts))
        known = [(total, count) for total, count in zip(sums, counts, strict=True) if count]
        totals, known_counts = zip(*known, strict=True)
        if ends := bootstrap_ratio(totals, known_counts, resamples, seed):
            intervals[name] = (metric_of_ratio(name, ends[0]), metric_of_ratio(name, ends[1]))
    return metrics, intervals


def metric_of_ratio(metric: str, ratio: float) -> float:
    """Return a metric's value where its ratio is this.

    >>> metric_of_ratio("length", 3.0), metric_of_ratio("perplexity", 1e4)
    (3.0, inf)
    """
    if find_metric(metric).mean != "perplexity":
        return ratio
    return math.exp(ratio) if ratio < _LARGEST else math.inf
