"""One run read from wherever it is kept, as far as it came."""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from rlexp.comparison.paired_tests import RESAMPLES
from rlexp.comparison.run_data import Key, Points, RecordedSample, Run, Value
from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.metrics import BENCHMARK
from rlexp.evaluation.ranking.calibration import pair_measures
from rlexp.evaluation.results import ANSWERS
from rlexp.evaluation.sample_rows import DOCUMENTS, NOT_MEASURED, with_answer
from rlexp.runtime.run_folder import CARD, CONFIG, GIT_DIFF, ORIGIN, PACKAGES
from rlexp.spec.keys import with_current_names
from rlexp.spec.sweep import COSTS
from rlexp.tracking.query.record import Record

MEGABYTES = "system/process_memory_megabytes"

Row = dict[str, Any]
Measured = dict[str, dict[Key, list[float]]]
"""Metric, prompt, and the values of the prompt's completions."""


class RunSource(Protocol):
    """Where what a record does not hold is read: a tracking store, or the run's folder."""

    def history(self, record: Record, /) -> dict[str, Points]: ...
    def samples(
        self, record: Record, /, step: int | None = None, name: str = "samples"
    ) -> list[Row]: ...
    def artifact(self, record: Record, /, path: str) -> Path: ...


def gather(record: Record, source: RunSource, status: str | None = None) -> Run:
    """Read a run, whose curves, samples and files are in `source`.

    The status goes before the record's, where more is known.
    """
    notes: list[str] = []
    curves = source.history(record)
    evaluations = [points[-1][0] for name, points in curves.items() if name.startswith("eval/")]
    evaluated = max(evaluations, default=None)
    rows = source.samples(record, evaluated) if evaluated is not None else []
    if evaluated is not None and not rows:
        notes.append("its samples were not kept, so that it cannot be paired by prompt")
    config, whole = _config(record, source)
    if not whole:
        notes.append("its config was not kept: only the keys that are tracked are compared")
    attempts = json.loads(_text(source, record, ORIGIN) or "{}").get("attempts", [{}])
    sources = attempts[-1].get("sources", {})
    card = json.loads(_text(source, record, CARD) or "{}")
    groups = _by_prompt([with_answer(row) for row in rows])
    measured = _ranked(groups) if "eval/accuracy" in curves else _measured(groups)
    if any(name.startswith(f"eval/{BENCHMARK}") for name in curves) and evaluated is not None:
        measured |= _by_document(source.samples(record, evaluated, DOCUMENTS))
    return Run(
        id=record.run_id,
        name=record.name,
        status=status or record.status,
        config=config,
        whole_config=whole,
        curves=curves,
        evaluated=evaluated,
        final=_final(curves, evaluated, measured, card),
        measured={
            metric: {prompt: math.fsum(values) / len(values) for prompt, values in prompts.items()}
            for metric, prompts in measured.items()
        },
        samples={key: [_sample(row) for row in group] for key, group in groups.items()},
        cost=_cost(record, curves, card),
        origin=_origin(record, source) | {f"source {name}": sources[name][:12] for name in sources},
        sources=sources,
        notes=notes,
    )


def _text(source: RunSource, record: Record, path: str) -> str | None:
    """Return an artifact's text; None where the run did not come so far as to leave it."""
    try:
        return source.artifact(record, path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _config(record: Record, source: RunSource) -> tuple[dict[str, Any], bool]:
    import yaml

    text = _text(source, record, CONFIG)
    if text is not None:
        return with_current_names(yaml.safe_load(text)), True
    typed = {name: _typed(value) for name, value in record.params.items()}
    return with_current_names(typed), False


def _typed(value: str) -> Any:
    """Undo what `str` made of a number, a truth value or a text."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _by_prompt(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """Return the completions of each prompt, which stand next to each other in the table.

    Prompts are drawn from data that may repeat a text: `prompt_id` tells equal ones apart. In a
    table without it, of an older run, the number of completions that all prompts have does, where
    equal ones happen to be neighbours.
    """
    if all("prompt_id" in row for row in rows):
        groups = [list(group) for _, group in groupby(rows, key=itemgetter("prompt_id"))]
    else:
        alike = [list(group) for _, group in groupby(rows, key=itemgetter("prompt"))]
        size = math.gcd(*map(len, alike))
        groups = [group[i : i + size] for group in alike for i in range(0, len(group), size)]
    seen: Counter[str] = Counter()
    by_prompt: dict[Key, list[Row]] = {}
    for group in groups:
        prompt = group[0]["prompt"]
        by_prompt[prompt, seen[prompt]] = group
        seen[prompt] += 1
    return by_prompt


def _measured(groups: Mapping[Key, Sequence[Row]]) -> Measured:
    measured: Measured = {}
    for key, rows in groups.items():
        for row in rows:
            for name, value in row.items():
                if name not in NOT_MEASURED and value is not None:
                    measured.setdefault(f"eval/{name}", {}).setdefault(key, []).append(float(value))
    return measured


def _ranked(groups: Mapping[Key, Sequence[Row]]) -> Measured:
    """Return accuracy, margin and losses of a reward model, a pair each."""
    measured: Measured = {}
    for key, rows in groups.items():
        chosen, rejected = (
            [float(row["reward"]) for row in rows if row["answer"] == answer] for answer in ANSWERS
        )
        margins = [high - low for high, low in zip(chosen, rejected, strict=True)]
        for name, values in pair_measures(margins).items():
            measured.setdefault(f"eval/{name}", {})[key] = values
    return measured


def _by_document(rows: Sequence[Row]) -> Measured:
    """Return the scores of benchmarks by document, which takes the place of a prompt."""
    measured: Measured = {}
    for row in rows:
        document = f"{row['task']}, document {row['document']}"
        by_document = measured.setdefault(f"eval/{row['metric']}", {})
        by_document[document, 0] = [float(row["value"])]
    return measured


def _sample(row: Row) -> RecordedSample:
    reward = row.get("reward")
    return RecordedSample(row["completion"], None if reward is None else float(reward))


def _final(
    curves: Mapping[str, Points], evaluated: int | None, measured: Measured, card: Mapping[str, Any]
) -> dict[str, Value]:
    """Return each metric's last value; intervals as on the card, if it tells of this evaluation.

    A run that did not reach its end has none on its card: what its samples tell has them anew.
    """
    final = {}
    known = card.get("intervals", {}) if card.get("after") else {}
    for metric, points in curves.items():
        step, value = points[-1]
        low = high = None
        if metric.startswith("eval/"):
            if step != evaluated:
                continue
            low, high = known.get(metric.removeprefix("eval/"), (None, None))
            if low is None and (prompts := measured.get(metric)):
                low, high = _interval(prompts)
        final[metric] = Value(value, low, high)
    return final


def _interval(prompts: Mapping[Key, Sequence[float]]) -> tuple[float | None, float | None]:
    sums = [math.fsum(values) for values in prompts.values()]
    if not all(map(math.isfinite, sums)):
        return None, None
    counts = [float(len(values)) for values in prompts.values()]
    return bootstrap_ratio(sums, counts, RESAMPLES, seed=0) or (None, None)


def _cost(
    record: Record, curves: Mapping[str, Points], card: Mapping[str, Any]
) -> dict[str, float]:
    """Return what the run took: as its card says, else as far as its curves tell."""
    if card:
        cost = {name: card[name] for name in COSTS} | card["cost"]
        return {name: float(value) for name, value in cost.items() if value is not None}
    cost = {}
    if record.ended:
        cost["total_seconds"] = (record.ended - record.started) / 1000
    if speeds := curves.get("perf/tokens_per_second"):
        cost["tokens_per_second"] = sum(value for _, value in speeds) / len(speeds)
    if MEGABYTES in record.metrics:
        cost["memory_mib"] = record.metrics[MEGABYTES]
    return cost


def _origin(record: Record, source: RunSource) -> dict[str, str]:
    """Return code, command, machine and packages, by the names that people know them by."""
    tags = record.tags
    origin = {}
    if commit := tags.get("mlflow.source.git.commit"):
        origin["git commit"] = commit[:12]
        if tags.get("git.dirty") == "true":
            diff = _text(source, record, GIT_DIFF) or ""
            changed = hashlib.sha256(diff.encode()).hexdigest()[:8]
            origin["git commit"] += f" + changes {changed}"
    machine = ("command", "python", "platform", "cpu")
    origin |= {name: tags[name] for name in machine if name in tags}
    if tags.get("gpu", "none") != "none":
        origin["gpu"] = tags["gpu"]
    packages = _text(source, record, PACKAGES)
    if packages is not None:
        lines = packages.splitlines()
    else:
        versions = [name for name in tags if name.startswith("version.")]
        lines = [f"{name.removeprefix('version.')}=={tags[name]}" for name in versions]
    return origin | dict(line.split("==", 1) for line in lines if "==" in line)
