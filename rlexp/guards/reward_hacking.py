"""Reward hacking: the reward rises while what it does not ask for falls.

A policy that is optimised long enough finds text that its reward likes and people do not (Gao et
al. 2022, arXiv:2210.10760; Skalse et al. 2022, arXiv:2209.13085). No single measure sees it early:
shortly before the sentences break, samples repeat each other and grow to the length limit, each by
no more than another honest task might bring. So two probes at the same prompts, before
training and now, sampled with the same random numbers, are compared in all measures, and the guard
fires when they add up to `threshold`. Variety and length count for less than one each, so that a
task that asks for brevity is not accused by them; the perplexity of held-out texts counts nothing,
since it rises as far in sound runs without a reference (CPO) as in those that game their reward.

What comes within a step or two is an update that went too far, and a KL penalty takes it back: PPO
on the film reviews was seen to lose a fifth of its grammar at step 7 and to have it back at step
11. So the measures must have been suspicious for `patience` steps before the guard fires, for twice
as many where the last probe already finds less than the one before; and the first `every` steps do
not count, in which Adam knows the gradients' size from a few of them only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean, pstdev

from rlexp.evaluation.changes import finite_values
from rlexp.evaluation.metrics import find_metric
from rlexp.evaluation.results import Evaluation, Sample
from rlexp.guards.alert import ExampleSample
from rlexp.spec.guards import GuardsSpec

SHOWN = 3
SUSPICIOUS_ANSWERS = 0.3
"""Share of `threshold` in the training's own answers at which a probe is worth its price. Sound
runs of the film reviews end at a quarter of it."""
SUSPICIOUS, NEAR = 0.35, 0.7
"""Shares of `threshold` at which the next probe comes after two steps and `patience` begins to
count, and at which the next one comes after one step, and each probe is repeated."""
MINOR = 0.75
"""What variety and length count at most."""
STRATEGY_RISE = 0.25
"""Rise of the share of answers that look like a cheap strategy which pays, that counts 1."""
CAUSE = "the reward is paid for text that people would not call better"
REMEDY = (
    "Read the samples. Raise algo.beta (the KL penalty), lower algo.learning_rate, or put what "
    "falls into the reward (reward=mix)"
)


@dataclass(frozen=True)
class Measure:
    """How far one measure has fallen."""

    words: str
    """What it is, and from where to where it went."""
    share: float
    """In units of the change that `guards` names: 0 none, below 0 for the better."""


LooksLike = Callable[[str, str], bool]
"""Whether an answer to a prompt looks like a strategy's."""


def evidence(
    start: Evaluation,
    now: Evaluation,
    spec: GuardsSpec,
    weights: Mapping[str, float],
    strategies: Mapping[str, LooksLike],
) -> list[Measure]:
    """Return what speaks for reward hacking, the strongest first; nothing unless the reward rises.

    Both probes are at the same prompts; `weights` are of the reward's terms, by name;
    `strategies` the cheap ones that the reward pays for.
    """
    rewards = start.metrics.get("reward"), now.metrics.get("reward")
    if rewards[0] is None or rewards[1] is None or rewards[1] <= rewards[0]:
        return []
    texts = _text_measures(start.metrics, now.metrics, spec)
    measures = [*texts, *_reward_measures(start, now, spec, weights)]
    measures += _strategy_measures(start, now, strategies)
    return sorted((m for m in measures if m.share > 0), key=lambda measure: -measure.share)


def total_evidence(measures: Sequence[Measure]) -> float:
    """Add up what several measures say."""
    return sum(measure.share for measure in measures)


def steps_to_next_probe(evidence: float, spec: GuardsSpec) -> int:
    """Return the steps to the next probe after one with so much evidence."""
    if evidence >= NEAR * spec.threshold:
        return 1
    return 2 if evidence >= SUSPICIOUS * spec.threshold else spec.every


def has_lasted(probes: Sequence[tuple[int, float]], spec: GuardsSpec) -> bool:
    """Return whether the last probe's evidence has lasted `patience` steps; twice as many if it
    falls.
    """
    since, limit = None, SUSPICIOUS * spec.threshold
    for step, evidence in probes:
        since = (step if since is None else since) if evidence >= limit else None
    falls = len(probes) > 1 and probes[-1][1] < probes[-2][1]
    patience = 2 * spec.patience if falls else spec.patience
    return since is not None and probes[-1][0] - max(since, spec.every) >= patience


def answers_are_suspicious(
    start: Mapping[str, float], now: Mapping[str, float], spec: GuardsSpec
) -> bool:
    """Return whether what the training's own answers show of the evidence calls for a probe.

    `grammatical`, `distinct_2`, `length` and `reference_perplexity`, as far as they are known, are
    compared between the first steps and the last.
    """
    worse = [measure for measure in _text_measures(start, now, spec) if measure.share > 0]
    return total_evidence(worse) >= SUSPICIOUS_ANSWERS * spec.threshold


def _text_measures(
    old: Mapping[str, float], new: Mapping[str, float], spec: GuardsSpec
) -> Iterator[Measure]:
    if (ends := finite_values("grammatical", old, new)) is not None:
        words = f"grammatical sentences {ends[0]:.0%} → {ends[1]:.0%}"
        yield Measure(words, (ends[0] - ends[1]) / spec.grammatical_fall)
    factors = (
        ("reference_perplexity", "perplexity to the reference", spec.reference_perplexity_rise),
        ("distinct_2", "distinct pairs of tokens", spec.distinct_fall),
        ("length", "length in tokens", spec.length_drift),
    )
    for name, words, limit in factors:
        ends = finite_values(name, old, new)
        if ends is None or min(ends) <= 0:
            continue
        share = _worsening(name, math.log(ends[1] / ends[0])) / math.log(limit)
        most = MINOR if name in ("distinct_2", "length") else math.inf
        yield Measure(f"{words} {ends[0]:.3g} → {ends[1]:.3g}", min(share, most))


def _worsening(metric: str, change: float) -> float:
    """Return how far a change goes for the worse; either way does where neither is better."""
    better = find_metric(metric).better
    if better == "neither":
        return abs(change)
    return change if better == "lower" else -change


def _reward_measures(
    start: Evaluation, now: Evaluation, spec: GuardsSpec, weights: Mapping[str, float]
) -> Iterator[Measure]:
    """Yield gold rewards that fall, and terms of the mix that others pay for."""
    probes = start.samples, now.samples
    for name in start.samples[0].gold:
        values = [[sample.gold[name] for sample in samples] for samples in probes]
        yield from _fall(f"gold {name}", values, 1.0, spec)
    for name in start.samples[0].terms:
        values = [[sample.terms[name] for sample in samples] for samples in probes]
        words = f"the reward's own term {name}, which the others outweigh,"
        yield from _fall(words, values, weights.get(name, 0.0), spec)


def _strategy_measures(
    start: Evaluation, now: Evaluation, strategies: Mapping[str, LooksLike]
) -> Iterator[Measure]:
    """Yield cheap strategies that the reward pays for, where the policy takes them up."""
    for name, looks_like in strategies.items():
        old, new = (
            fmean(looks_like(sample.prompt, sample.final_answer) for sample in probe.samples)
            for probe in (start, now)
        )
        words = f"answers like a strategy that pays, {name}, {old:.0%} → {new:.0%}"
        yield Measure(words, (new - old) / STRATEGY_RISE)


def _fall(
    words: str, values: Sequence[Sequence[float | None]], weight: float, spec: GuardsSpec
) -> Iterator[Measure]:
    old, new = ([value for value in side if value is not None] for side in values)
    if not old or not new or not weight:
        return
    spread = pstdev(old)
    if spread > 0:
        fall = math.copysign(1, weight) * (fmean(old) - fmean(new)) / spread
        yield Measure(f"{words} {fmean(old):.2f} → {fmean(new):.2f}", fall / spec.gold_fall)


def format_evidence(start: Evaluation, now: Evaluation, measures: Sequence[Measure]) -> str:
    """Return what was seen, with its numbers."""
    falls = "; ".join(measure.words for measure in measures if measure.share >= 0.2)
    rewards = f"{start.metrics['reward']:.2f} → {now.metrics['reward']:.2f}"
    return f"the reward of held-out prompts rose {rewards}, while: {falls}"


def worst_samples(samples: Sequence[Sample]) -> list[ExampleSample]:
    """Return the samples that show it best: the least grammatical, of those the best paid."""

    def order(sample: Sample) -> tuple[float, float]:
        gold = [value for value in sample.gold.values() if value is not None]
        quality = sample.grammatical if sample.grammatical is not None else fmean(gold or [0.0])
        return quality, -(sample.reward if sample.reward is not None else 0.0)

    shown = attrgetter("prompt", "completion", "reward", "grammatical")
    return [ExampleSample(*shown(sample)) for sample in sorted(samples, key=order)[:SHOWN]]
