"""Runs set against the first of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from rlexp.comparison.configs import ConfigDifference, config_differences
from rlexp.comparison.paired_tests import Paired, against_first
from rlexp.comparison.remarks import remarks, same_scale
from rlexp.comparison.run_data import RecordedSample, Run, letter
from rlexp.evaluation.metrics import in_comparison_order, without_lone_term
from rlexp.rendering.numbers import duration, memory

EVALUATION = "eval/"
"""Group of the metrics that evaluations find."""


@dataclass(frozen=True)
class Tested:
    """A metric of which each prompt's mean is known, every run against the first."""

    metric: str
    results: list[Paired | None]
    """One a run; None for the first, and where nothing can be paired."""


@dataclass(frozen=True)
class Side:
    """What one run wrote to a prompt."""

    letter: str
    samples: list[RecordedSample]
    mean: float | None
    """Of the metric that decides the order."""


@dataclass(frozen=True)
class Prompt:
    """A held-out prompt that several runs were evaluated on."""

    text: str
    spread: float
    """The largest difference between two runs' means."""
    sides: list[Side]


@dataclass(frozen=True)
class Comparison:
    """All that there is to say; every list of values has one a run."""

    runs: list[Run]
    remarks: list[str]
    config: list[ConfigDifference]
    metrics: list[str]
    """Names of those that every table shows, in their order."""
    tested: list[Tested]
    """What can be paired, the metric that matters most first."""
    prompts: list[Prompt]
    """Those that differ most first, by the first metric of `tested`."""
    cost: list[ConfigDifference]
    origin: list[ConfigDifference]
    """Where code, machine and packages differ."""


def compare(runs: Sequence[Run], metrics: Sequence[str] = ()) -> Comparison:
    """Set two runs or more against the first of them.

    Shown are the metrics that are asked for by their full names, else all that evaluations found.
    """
    shown = list(metrics) or _evaluated(runs)
    tested = _tested(runs, shown)
    return Comparison(
        runs=list(runs),
        remarks=[*remarks(runs), *_pairing(runs, tested)],
        config=config_differences([run.config for run in runs], [run.whole_config for run in runs]),
        metrics=shown,
        tested=tested,
        prompts=_prompts(runs, tested),
        cost=_cost(runs),
        origin=_origin(runs),
    )


def _evaluated(runs: Sequence[Run]) -> list[str]:
    """Return what evaluations found: the reward and its terms first, in a fixed order.

    A reward with itself as its only term is shown once.
    """
    measured = []
    for run in runs:
        evaluated = [name for name in run.final if name.startswith(EVALUATION)]
        measured.append({name.removeprefix(EVALUATION): run.final[name] for name in evaluated})
    names = {name for values in measured for name in values}
    shown = in_comparison_order(without_lone_term(names, measured))
    return [f"{EVALUATION}{name}" for name in shown]


def _tested(runs: Sequence[Run], metrics: Sequence[str]) -> list[Tested]:
    tested = []
    for metric in metrics:
        means = [
            run.measured.get(metric, {}) if same_scale(metric, runs[0], run) else {} for run in runs
        ]
        if means[0] and any(means[1:]):
            results = against_first(means)
            if any(results):
                tested.append(Tested(metric, results))
    return tested


def _pairing(runs: Sequence[Run], tested: Sequence[Tested]) -> Iterator[str]:
    """Yield which runs were evaluated on other prompts than the first, or could not be tested."""
    first = set(runs[0].samples)
    for index, run in enumerate(runs[1:], start=1):
        shared, own = len(first & set(run.samples)), len(run.samples)
        if first and own and shared < max(own, len(first)):
            counts = f"{shared} of its {own} held-out prompts with A (A has {len(first)})"
            paired = "only those are paired" if shared > 1 else "they cannot be paired"
            yield f"{letter(index)} shares {counts}: {paired}."
    if not tested:
        yield "Nothing that is shown can be paired by prompt with A: there is no test."


def _prompts(runs: Sequence[Run], tested: Sequence[Tested]) -> list[Prompt]:
    metric = tested[0].metric if tested else ""
    tested_runs = {i for i in range(len(runs)) if tested and (i == 0 or tested[0].results[i])}
    prompts = []
    for key in dict.fromkeys(key for run in runs for key in run.samples):
        sides = []
        for index, run in enumerate(runs):
            if key in run.samples:
                mean = run.measured.get(metric, {}).get(key) if index in tested_runs else None
                sides.append(Side(letter(index), run.samples[key], mean))
        means = [side.mean for side in sides if side.mean is not None and isfinite(side.mean)]
        if len(sides) > 1:
            prompts.append(Prompt(key[0], max(means) - min(means) if means else 0.0, sides))
    return sorted(prompts, key=lambda prompt: -prompt.spread)


def _cost(runs: Sequence[Run]) -> list[ConfigDifference]:
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.cost):
        values = [run.cost.get(name) for run in runs]
        texts = [None if value is None else _format_cost(name, value) for value in values]
        rows.append(ConfigDifference(_cost_name(name), texts))
    return rows


def _cost_name(name: str) -> str:
    name = name.removesuffix("_seconds").removesuffix("_mib")
    return name.replace("tokens_per_second", "tokens a second").replace("_", " ")


def _format_cost(name: str, value: float) -> str:
    if name.endswith("_seconds"):
        return duration(value)
    return memory(value) if name.endswith("_mib") else f"{value:,.0f}"


def _origin(runs: Sequence[Run]) -> list[ConfigDifference]:
    names = dict.fromkeys(name for run in runs for name in run.origin)
    rows = [ConfigDifference(name, [run.origin.get(name) for run in runs]) for name in names]
    return [row for row in rows if len(set(row.values)) > 1 and row.key != "command"]
