"""A comparison as a page: one self-contained file that opens anywhere, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rlexp.comparison import wording
from rlexp.comparison.compare import Comparison, Prompt
from rlexp.comparison.curves import curve_names
from rlexp.comparison.plots import COLOURS, overlay
from rlexp.comparison.run_data import letter
from rlexp.rendering import html
from rlexp.rendering.numbers import NOTHING
from rlexp.rendering.svg import Plot

PROMPTS = 8
"""That stand open; the others are folded away."""
MOST_PROMPTS = 100
MOST_SIDES = 8
COLUMNS = 6
"""Runs up to which a table has a column for each; with more it has a row for each."""


@dataclass(frozen=True)
class Grid:
    """A table whose rows or columns are runs."""

    columns: list[str]
    rows: list[tuple[str, list[str]]]
    of_runs: bool
    """Whether the columns are runs; otherwise the rows are."""


def write_comparison_page(comparison: Comparison, path: Path, wanted: Sequence[str] = ()) -> None:
    """Write the page.

    Args:
        comparison: what it shows.
        path: the file.
        wanted: metrics whose curves go first.
    """
    first, others = curve_names(comparison.runs, wanted)
    prompts = comparison.prompts
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
        metrics=_grid(_metric_rows(comparison)),
        tests=_tests(comparison),
        paragraphs=list(wording.paragraphs(comparison)),
        plots=[overlay(name, comparison.runs) for name in first],
        others=_sections(others, comparison),
        prompts=[_limited(prompt) for prompt in prompts[:PROMPTS]],
        more_prompts=[_limited(prompt) for prompt in prompts[PROMPTS:MOST_PROMPTS]],
        all_prompts=len(prompts),
        order=wording.short_name(comparison.tested[0].metric) if comparison.tested else None,
        cost=_grid([(row.key, row.values) for row in comparison.cost]),
        origin=_grid([(row.key, row.values) for row in comparison.origin]),
    )


def _grid(rows: Sequence[tuple[str, Sequence[str | None]]]) -> Grid:
    cells = [(name, [NOTHING if v is None else v for v in values]) for name, values in rows]
    runs = len(cells[0][1]) if cells else 0
    letters = [letter(index) for index in range(runs)]
    if runs <= COLUMNS:
        return Grid(letters, cells, of_runs=True)
    columns = [name for name, _ in cells]
    turned = [(letters[i], [values[i] for _, values in cells]) for i in range(runs)]
    return Grid(columns, turned, of_runs=False)


def _metric_rows(comparison: Comparison) -> list[tuple[str, list[str | None]]]:
    return [
        (
            wording.short_name(metric),
            [wording.value_cell(run.final.get(metric)) for run in comparison.runs],
        )
        for metric in comparison.metrics
    ]


def _tests(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row for each metric and run."""
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


def _sections(names: Sequence[str], comparison: Comparison) -> list[tuple[str, list[Plot]]]:
    """Return the other curves by the group that their names begin with."""
    groups = groupby(names, key=lambda name: name.partition("/")[0])
    return [
        (group, [overlay(name, comparison.runs) for name in members]) for group, members in groups
    ]


def _limited(prompt: Prompt) -> Prompt:
    return Prompt(prompt.text, prompt.spread, prompt.sides[:MOST_SIDES])
