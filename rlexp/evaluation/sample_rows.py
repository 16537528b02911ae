"""Samples as rows of the table that is tracked, and such rows read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rlexp.evaluation.metrics import GOLD, TERM, find_metric, sample_metrics
from rlexp.evaluation.results import Evaluation, Sample, split_marked

NOT_MEASURED = frozenset({"step", "prompt_id", "prompt", "answer", "completion"})
"""Columns that are no measurements."""
DOCUMENTS = "benchmarks"
"""Name of the table of what benchmarks found of each document."""


def sample_row(sample: Sample) -> dict[str, Any]:
    """Return a sample as a row of the table: texts, and what was measured of it."""
    fields = asdict(sample)
    terms = {f"{TERM}{name}": value for name, value in fields.pop("terms").items()}
    gold = {f"{GOLD}{name}": value for name, value in fields.pop("gold").items()}
    prompt_id, answer = fields.pop("prompt_id"), fields.pop("answer")
    del fields["thought"]  # its metric tells of it
    metrics = sample_metrics().items()
    others = {name: value_of(sample) for name, value_of in metrics if name not in fields}
    others = {name: value for name, value in others.items() if value is not None}
    row = {"reward": fields.pop("reward"), **terms, **fields, **others, **gold}
    return row | {"prompt_id": prompt_id} | ({"answer": answer} if answer else {})


def with_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the table with `answer`, which older tables have in the prompt's text."""
    if "prompt_id" in row:
        return {"answer": "", **row}
    prompt, answer = split_marked(row["prompt"])
    return {**row, "prompt": prompt, "answer": answer}


def document_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the benchmarks' scores of each document, a row each, where they are means of those."""
    return [
        {"task": score.task, "metric": name, "document": number, "value": above / below}
        for name, score in evaluation.benchmarks.items()
        if name in evaluation.ratios and find_metric(name).mean == "prompt"
        for number, (above, below) in enumerate(zip(*evaluation.ratios[name], strict=True))
        if below
    ]
