"""Measures of an evaluation by the source that each prompt, or text, of a mix is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlexp.evaluation.metrics import BY_SOURCE, source_metric
from rlexp.evaluation.ratios import averages
from rlexp.evaluation.results import Evaluation, Ratio
from rlexp.spec.eval import EvalSpec


def with_source_metrics(
    evaluation: Evaluation, prompts: Sequence[str], texts: Sequence[str], spec: EvalSpec
) -> Evaluation:
    """Return an evaluation with each metric of `BY_SOURCE` that it has for each source as well.

    Args:
        evaluation: of the prompts and texts.
        prompts: the source of each prompt that was evaluated.
        texts: the source of each text of the perplexity.
        spec: of the evaluation.
    """
    ratios: dict[str, Ratio] = {}
    for metric in BY_SOURCE:
        sources = texts if metric == "perplexity" else prompts
        if metric not in evaluation.ratios or not sources:
            continue
        for name in dict.fromkeys(sources):
            ratios[source_metric(metric, name)] = _only(name, sources, evaluation.ratios[metric])
    metrics, intervals = averages(ratios, spec.bootstrap, spec.seed)
    return replace(
        evaluation,
        metrics=evaluation.metrics | metrics,
        intervals=evaluation.intervals | intervals,
        ratios=evaluation.ratios | ratios,
    )


def _only(name: str, sources: Sequence[str], ratio: Ratio) -> Ratio:
    """Return a ratio in which what is of other sources counts 0."""
    above, below = (
        [value if source == name else 0.0 for value, source in zip(side, sources, strict=True)]
        for side in ratio
    )
    return above, below
