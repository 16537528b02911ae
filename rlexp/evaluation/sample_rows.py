"""Samples as rows of the table that is tracked, and such rows read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rlexp.evaluation.metrics import GOLD, TERM, sample_metrics
from rlexp.evaluation.results import Sample, split_marked

NOT_MEASURED = frozenset({"step", "prompt_id", "prompt", "answer", "completion"})
"""Columns that are no measurements."""


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
