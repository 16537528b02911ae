"""A comparison on the terminal: within 100 columns for up to four runs, a line a run beyond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rlexp.comparison import wording
from rlexp.comparison.compare import Comparison, Prompt
from rlexp.comparison.configs import ConfigDifference
from rlexp.comparison.curves import curve_names, finite_points
from rlexp.comparison.run_data import Points, Run, letter
from rlexp.comparison.wording import short_name, value_cell
from rlexp.rendering.numbers import NOTHING, number, short

COLUMNS = 4
"""Runs that have a column each; more of them have a line each."""
METRICS = 6
"""Metrics in a line of one run."""
CURVES = 4
PROMPTS = 2
CHARACTERS = 240
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24
TEST_CELLS = (wording.difference_cell, wording.p_value_cell, wording.higher_cell)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what differs, what came of it, curves, samples and cost."""
    console.print(Rule(Text(wording.comparison_headline(comparison), style="bold")))
    console.print(_runs(comparison.runs))
    for remark in comparison.remarks:
        console.print(_marked(remark))
    _config(comparison.config, console)
    _results(comparison, console)
    _section(console, "Curves", _curves(comparison.runs, comparison.metrics))
    for prompt in comparison.prompts[:PROMPTS]:
        _print_prompt(prompt, console)
    _section(console, "Cost", _differing(comparison.cost))
    title = "Code, machine and packages, where they differ"
    _section(console, title, _differing(comparison.origin))


def _section(console: Console, title: str, table: Table) -> None:
    if table.row_count:
        console.print()
        console.print(Text(title, style="bold"))
        console.print(table)


def _table(*headings: str, right: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    return table


def _runs(runs: Sequence[Run]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for index, run in enumerate(runs):
        steps = f"step {run.reached}" + (f" of {run.steps}" if run.steps else "")
        table.add_row(
            Text(letter(index), style="bold"),
            Text(run.name, overflow="fold"),
            run.status.lower(),
            steps,
            Text(run.id[:8], style="dim"),
        )
    return table


def _differing(rows: Sequence[ConfigDifference]) -> Table:
    runs = len(rows[0].values) if rows else 0
    if runs > COLUMNS:
        table = Table.grid(padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(Text(row.key), Text(wording.group_by_value(row.values)))
        return table
    table = _table("", *(letter(index) for index in range(runs)))
    for row in rows:
        table.add_row(Text(row.key), *(Text(NOTHING if v is None else v) for v in row.values))
    return table


def _config(rows: Sequence[ConfigDifference], console: Console) -> None:
    """Print keys that all runs have as a table; those of some, such as an algorithm's, in lines."""
    console.print()
    console.print(Text("What differs in the configs", style="bold"))
    if not rows:
        console.print("Nothing: the configs are the same.")
        return
    shared = [row for row in rows if row.whole]
    partial = [row for row in rows if not row.whole]
    if shared:
        console.print(_differing(shared))
    if partial and len(rows[0].values) > COLUMNS:
        console.print(f"{len(partial)} keys that only some of them have are on the page (--html).")
        return
    own = Table.grid(padding=(0, 2, 0, 0))
    for index in range(len(rows[0].values)):
        values = {row.key: row.values[index] for row in partial}
        if keys := [f"{key}={value}" for key, value in values.items() if value is not None]:
            own.add_row(Text(f"{letter(index)} has"), Text(" ".join(keys), style="dim"))
    if own.row_count:
        console.print(own)


def _results(comparison: Comparison, console: Console) -> None:
    runs = len(comparison.runs)
    results = _two if runs == 2 else _metrics if runs <= COLUMNS else _lines
    _section(console, "What came of it", results(comparison))
    if runs != 2:
        _section(console, "Against A", _tests(comparison))
    for paragraph in wording.paragraphs(comparison):
        console.print(Text(paragraph, style="dim"))


def _two(comparison: Comparison) -> Table:
    table = _table("", "A", "B", "B - A", "p", "B higher", right=True)
    tested = {row.metric: row.results[1] for row in comparison.tested}
    for metric in comparison.metrics:
        result = tested.get(metric)
        values = [value_cell(run.final.get(metric)) for run in comparison.runs]
        cells = [cell(result) if result else "" for cell in TEST_CELLS]
        table.add_row(Text(short_name(metric)), *map(Text, [*values, *cells]))
    return table


def _metrics(comparison: Comparison) -> Table:
    table = _table("", *(letter(index) for index in range(len(comparison.runs))), right=True)
    for metric in comparison.metrics:
        values = (value_cell(run.final.get(metric)) for run in comparison.runs)
        table.add_row(Text(short_name(metric)), *map(Text, values))
    return table


def _lines(comparison: Comparison) -> Table:
    metrics = comparison.metrics[:METRICS]
    table = _table("", *(short_name(metric) for metric in metrics), right=True)
    for index, run in enumerate(comparison.runs):
        first, *others = (run.final.get(metric) for metric in metrics)
        numbers = (number(value.value if value else None) for value in others)
        table.add_row(letter(index), Text(value_cell(first)), *numbers)
    return table


def _tests(comparison: Comparison) -> Table:
    """Return the test by the metric that matters most; the page has them all."""
    if not comparison.tested:
        return _table("")
    tested = comparison.tested[0]
    table = _table("", short_name(tested.metric), "p", "higher on", "prompts", right=True)
    for index, result in enumerate(tested.results[1:], start=1):
        cells = (cell(result) for cell in TEST_CELLS)
        prompts = str(result.prompts) if result else NOTHING
        table.add_row(letter(index), *map(Text, cells), prompts)
    return table


def _curves(runs: Sequence[Run], wanted: Sequence[str]) -> Table:
    asked = [name for name in wanted if not name.startswith("eval/")]
    table = Table.grid(padding=(0, 2, 0, 0))
    for name in curve_names(runs, asked)[0][: CURVES if len(runs) <= COLUMNS else 1]:
        points = {i: finite_points(run.curves.get(name, [])) for i, run in enumerate(runs)}
        points = {index: curve for index, curve in points.items() if len(curve) > 1}
        values = [value for curve in points.values() for _, value in curve]
        last = max(curve[-1][0] for curve in points.values())
        for row, (index, curve) in enumerate(points.items()):
            bars = "".join(_bars(curve, last, min(values), max(values)))
            ends = f"{number(curve[0][1])} → {number(curve[-1][1])}"
            table.add_row(Text("" if row else name), letter(index), Text(bars), ends)
    return table


def _bars(points: Points, last: int, low: float, high: float) -> Iterator[str]:
    """Yield a bar for each part of the steps from 0 to `last`; a blank where nothing was logged."""
    for part in range(WIDTH):
        inside = [value for step, value in points if step * (WIDTH - 1) // max(last, 1) == part]
        if not inside:
            yield " "
            continue
        mean = sum(inside) / len(inside)
        share = (mean - low) / (high - low) if high > low else 0.5
        yield BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def _print_prompt(prompt: Prompt, console: Console) -> None:
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row("prompt", Text(_short(prompt.text), style="italic"))
    for side in prompt.sides[:COLUMNS]:
        sample = side.samples[0]
        reward = "" if sample.reward is None else f" {short(sample.reward, '+')}"
        label = f"{side.letter}{reward}"
        grid.add_row(f"  {label}", Text(_short(sample.completion)))
    console.print(grid)


def _marked(text: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("!", style="bold yellow"), Text(text, style="yellow"))
    return grid


def _short(text: str) -> str:
    """Return one paragraph of bounded length; line breaks become visible."""
    flat = text.strip().replace("\n", " ⏎ ")
    return flat if len(flat) <= CHARACTERS else flat[: CHARACTERS - 1] + "…"
