"""The card on the terminal: readable at 80 columns, and without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rlexp.cards import labels
from rlexp.cards.card import Card
from rlexp.evaluation.results import Pair
from rlexp.guards.alert import GuardAlert
from rlexp.rendering.numbers import NOTHING, interval, number, short
from rlexp.rendering.paragraphs import marked, one_paragraph

SHOWN_CHARACTERS = 320
EXTREMES = 2
"""Largest gains and losses that are shown; the page has more."""


def print_card(card: Card, console: Console) -> None:
    """Print headline, warnings, metrics, three samples, cost and how to open the run."""
    console.print(Rule(Text(f"{card.name}: {labels.card_headline(card)}", style="bold")))
    console.print(Text(f"{card.algo} · {card.model} · {card.data} · {card.reward}", style="dim"))
    for warning in card.guards:
        console.print(marked("!", warning, "bold red"))
    console.print()
    console.print(_metrics(card))
    console.print()
    for verdict in labels.format_verdicts(card):
        console.print(Text(verdict))
    for alert in card.firings:
        _print_alert(alert, console)
    if card.slices:
        console.print()
        console.print(_slices(card))
    for index, pair in enumerate(card.samples, start=1):
        _print_pair(f"sample {index}", pair, console)
    for name, pairs in (("gain", card.gains), ("loss", card.losses)):
        for index, pair in enumerate(pairs[:EXTREMES], start=1):
            _print_pair(f"{name} {index}", pair, console)
    console.print()
    for note in card.notes:
        console.print(marked("·", note, "dim"))
    console.print(Text(labels.cost_line(card)))
    console.print(
        Text.assemble("run ", (card.run_id, "bold"), f" {card.status.lower()}, seed {card.seed}")
    )
    console.print(Text.assemble("open it: ", (card.open, "bold")), soft_wrap=True)


def _metrics(card: Card) -> Table:
    # Where there is a change its interval answers the question that a card is asked.
    heading = "change, 95% interval" if card.changes else "95% interval"
    table = _table("metric", ("before", "after"), heading)
    for row in labels.metric_rows(card):
        ends = labels.format_change(row.change) if card.changes else interval(row.low, row.high)
        table.add_row(Text(row.label), number(row.before), number(row.after), Text(ends))
    return table


def _slices(card: Card) -> Table:
    table = _table("reward by", ("prompts", "before", "after"), "change, 95% interval")
    by = ""
    for part in card.slices:
        if part.by != by:
            by = part.by
            table.add_row(Text(by))
        value, *rest = labels.slice_row(part)
        table.add_row(Text(f"  {value}"), *map(Text, rest))
    return table


def _table(rows: str, numbers: Sequence[str], interval: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(rows)  # wraps where the numbers need its room
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(interval, no_wrap=True)
    return table


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    return grid


def _print_pair(name: str, pair: Pair, console: Console) -> None:
    console.print()
    grid = _grid()
    grid.add_row(name, Text(one_paragraph(pair.shown_prompt, SHOWN_CHARACTERS), style="italic"))
    sides = (pair.before, pair.reward_before), (pair.after, pair.reward_after)
    for when, (text, reward) in zip(("before", "after"), sides, strict=True):
        label = when if reward is None else f"{when} {short(reward, '+')}"
        grid.add_row(
            f"  {label}", Text(NOTHING if text is None else one_paragraph(text, SHOWN_CHARACTERS))
        )
    console.print(grid)


def _print_alert(alert: GuardAlert, console: Console) -> None:
    """Print the samples that made a guard fire; its words stand above, among the warnings."""
    if not alert.samples:
        return
    console.print()
    console.print(Text(f"What {alert.guard.replace('_', ' ')} looks like at step {alert.step}"))
    grid = _grid()
    for sample in alert.samples:
        label = "" if sample.reward is None else f"  {short(sample.reward, '+')}"
        grid.add_row(
            label,
            Text(
                one_paragraph(
                    f"{sample.prompt.strip()} … {sample.completion.strip()}", SHOWN_CHARACTERS
                )
            ),
        )
    console.print(grid)
