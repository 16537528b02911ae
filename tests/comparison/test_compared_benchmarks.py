"""Benchmarks of two runs, set against each other by document."""

from __future__ import annotations

from typing import Any

import pytest
from recorded_runs import RecordedSource, recorded_run

from rlexp.comparison.compare import compare
from rlexp.comparison.gather import gather


def test_benchmarks_are_paired_by_document() -> None:
    """A fall by a benchmark that is told without a test, or paired with another document."""
    runs = []
    for values in ([1.0] * 12, [0.0] * 8 + [1.0] * 4):
        documents = [
            {"task": "sums", "metric": "benchmark_sums_acc", "document": n, "value": value}
            for n, value in enumerate(values)
        ]
        curves = {"eval/benchmark_sums_acc": [(0, sum(values) / 12)]}
        runs.append(gather(recorded_run(), RecordedSource([], curves, documents)))
    [tested] = compare(runs, []).tested
    assert tested.metric == "eval/benchmark_sums_acc"
    result: Any = tested.results[1]
    assert result.difference == pytest.approx(-8 / 12)
    assert result.p < 0.05
