"""A comparison as a page: one self-contained file that opens anywhere, offline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rlexp.comparison import wording
from rlexp.comparison.compare import Comparison, Prompt
from rlexp.comparison.curves import COLOURS, curve_names, overlay
from rlexp.comparison.run_data import letter
from rlexp.rendering import html
from rlexp.rendering.numbers import NOTHING

PROMPTS = 8
"""That stand open; the others are folded away."""
MOST_PROMPTS = 100
MOST_SIDES = 8
COLUMNS = 6
"""Runs up to which a table has a column for each; with more it has a row for each."""


def write_comparison_page(comparison: Comparison, path: Path, wanted: Sequence[str] = ()) -> None:
    """Write the page into a file; the curves of metrics that are `wanted` go first."""
    first, others = curve_names(comparison.runs, wanted)
    by_group = groupby(others, key=lambda name: name.partition("/")[0])
    prompts = comparison.prompts
    metrics = [
        (
            wording.short_name(metric),
            [wording.value_cell(run.final.get(metric)) for run in comparison.runs],
        )
        for metric in comparison.metrics
    ]
    html.write(
        path,
        "rlexp.comparison",
        "comparison.html",
        comparison=comparison,
        headline=wording.comparison_headline(comparison),
        runs=[(letter(i), i % COLOURS, run) for i, run in enumerate(comparison.runs)],
        colour_of={letter(i): i % COLOURS for i in range(len(comparison.runs))},
        config=_grid([(row.key, row.values) for row in comparison.config if row.whole]),
        own_keys=_grid([(row.key, row.values) for row in comparison.config if not row.whole]),
        metrics=_grid(metrics),
        tests=_tests(comparison),
        paragraphs=list(wording.paragraphs(comparison)),
        plots=[overlay(name, comparison.runs) for name in first],
        others=[
            (group, [overlay(name, comparison.runs) for name in names]) for group, names in by_group
        ],
        prompts=[_limited(prompt) for prompt in prompts[:PROMPTS]],
        more_prompts=[_limited(prompt) for prompt in prompts[PROMPTS:MOST_PROMPTS]],
        all_prompts=len(prompts),
        order=wording.short_name(comparison.tested[0].metric) if comparison.tested else None,
        cost=_grid([(row.key, row.values) for row in comparison.cost]),
        origin=_grid([(row.key, row.values) for row in comparison.origin]),
    )


def _grid(rows: Sequence[tuple[str, Sequence[str | None]]]) -> dict[str, Any]:
    """Return a table whose columns are runs, or whose rows are where these are many."""
    cells = [(name, [NOTHING if v is None else v for v in values]) for name, values in rows]
    letters = [letter(index) for index in range(len(cells[0][1]) if cells else 0)]
    if len(letters) <= COLUMNS:
        return {"columns": letters, "rows": cells, "of_runs": True}
    turned = [(name, [values[i] for _, values in cells]) for i, name in enumerate(letters)]
    return {"columns": [name for name, _ in cells], "rows": turned, "of_runs": False}


def _tests(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "metric": wording.short_name(tested.metric),
            "letter": letter(index),
            "difference": wording.difference_cell(result),
            "p": wording.p_value_cell(result),
            "higher": wording.higher_cell(result),
            "prompts": result.prompts,
            "significant": result.significant,
        }
        for tested in comparison.tested
        for index, result in enumerate(tested.results)
        if result
    ]


def _limited(prompt: Prompt) -> Prompt:
    return Prompt(prompt.text, prompt.spread, prompt.sides[:MOST_SIDES])
