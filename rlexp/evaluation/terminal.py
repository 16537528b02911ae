"""The card on the terminal: readable at 80 columns, and without colour."""

from __future__ import annotations

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rlexp.evaluation.card import Card, Pair
from rlexp.evaluation.presentation import cost_line, headline, metric_rows, verdicts
from rlexp.presentation.numbers import NOTHING, interval, number

SHOWN_CHARACTERS = 320


def print_card(card: Card, console: Console) -> None:
    """Print headline, warnings, metrics, three samples, cost and how to open the run."""
    console.print(Rule(Text(f"{card.name}: {headline(card)}", style="bold")))
    console.print(Text(f"{card.algo} · {card.model} · {card.data} · {card.reward}", style="dim"))
    for warning in card.guards:
        console.print(_marked("!", warning, "bold red"))
    console.print()
    console.print(_metrics(card))
    console.print()
    for verdict in verdicts(card):
        console.print(Text(verdict))
    for index, pair in enumerate(card.samples, start=1):
        _print_pair(index, pair, console)
    console.print()
    for note in card.notes:
        console.print(_marked("·", note, "dim"))
    console.print(Text(cost_line(card)))
    console.print(
        Text.assemble("run ", (card.run_id, "bold"), f" {card.status.lower()}, seed {card.seed}")
    )
    console.print(Text.assemble("open it: ", (card.open, "bold")), soft_wrap=True)


def _metrics(card: Card) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric", no_wrap=True)
    for heading in ("before", "after"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("95% interval", no_wrap=True)
    for row in metric_rows(card):
        ends = interval(row.low, row.high)
        table.add_row(Text(row.label), number(row.before), number(row.after), Text(ends))
    return table


def _print_pair(index: int, pair: Pair, console: Console) -> None:
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row(f"sample {index}", Text(_short(pair.prompt), style="italic"))
    for when, text, reward in (
        ("before", pair.before, pair.reward_before),
        ("after", pair.after, pair.reward_after),
    ):
        label = when if reward is None else f"{when} {reward:+.2f}"
        grid.add_row(f"  {label}", Text(NOTHING if text is None else _short(text)))
    console.print(grid)


def _marked(mark: str, text: str, style: str) -> Table:
    """Text behind a mark, its further lines indented."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(mark, style=style), Text(text, style=style))
    return grid


def _short(text: str) -> str:
    """One paragraph of bounded length; line breaks become visible."""
    flat = text.strip().replace("\n", " ⏎ ")
    return flat if len(flat) <= SHOWN_CHARACTERS else flat[: SHOWN_CHARACTERS - 1] + "…"
