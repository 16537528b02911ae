"""A probe in words: a line before a training, a table on the terminal, a file for programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from rlexp.probing.earnings import REFERENCES, Earnings, RewardProbe
from rlexp.probing.verdict import ProbeVerdict, share_of
from rlexp.rendering.numbers import NOTHING, interval, number

LEAST, MOST = 12, 60
"""Characters of an example in the table."""


def probe_line(probe: RewardProbe, verdict: ProbeVerdict) -> str:
    """Return what a probe says in one line."""
    if verdict.warnings:
        first, *others = verdict.warnings
        more = f" (and {len(others)} more)" if others else ""
        return f"! {first.what}{more}. {first.remedy}"
    unpaid = [earned for earned in probe.strategies if earned not in verdict.paid]
    parts = [f"{REFERENCES} {number(probe.references.mean)}"] if probe.references else []
    if unpaid:
        parts.append(f"best cheap strategy {_earned(max(unpaid, key=_mean))}")
    if verdict.by_design:
        parts.append(f"by design {_earned(verdict.by_design[0])}")
    return "; ".join(parts)


def probe_json(probe: RewardProbe, verdict: ProbeVerdict) -> dict[str, Any]:
    """Return all of it as plain data; the texts of strategies by their examples alone."""
    earnings = [
        {name: value for name, value in asdict(earned).items() if name != "texts"}
        | {
            "of_most": share_of(probe, earned, probe.bounds[1]),
            "of_references": share_of(probe, earned, probe.references and probe.references.mean),
            "pays": earned in verdict.paid,
        }
        for earned in probe.earnings
    ]
    return {
        "reward": probe.reward,
        "prompts": probe.rows,
        "worth_nothing": probe.nothing,
        "most": probe.bounds[1],
        "by_design": probe.by_design,
        "earnings": earnings,
        "warnings": [asdict(warning) for warning in verdict.warnings],
        "seconds": probe.seconds,
    }


def _earned(earnings: Earnings) -> str:
    return f"{number(earnings.mean)} ({earnings.name})"


def _mean(earnings: Earnings) -> float:
    return -math.inf if earnings.mean is None else earnings.mean


def print_probe(
    probe: RewardProbe, verdict: ProbeVerdict, console: Console, source: str = ""
) -> None:
    """Print the table, what is by design, and the warnings with their remedies.

    The prompts are those of a source of a mix, or of all the data.
    """
    if source:
        console.print()
    of_source = f" of {source}" if source else ""
    headline = f"What the reward {probe.reward} pays, on {probe.rows} held-out prompts{of_source}"
    console.print(Text(headline))
    console.print()
    table = _table(probe, verdict)
    room = console.width - console.measure(table).maximum
    _add_examples(table, probe, max(LEAST, room))
    console.print(table)
    console.print()
    reasons: dict[str, list[str]] = {}
    for earnings in verdict.by_design:
        if earnings.kind is not None:
            reasons.setdefault(probe.by_design[earnings.kind], []).append(earnings.name)
    for why, names in reasons.items():
        console.print(_marked("·", f"by design: {why} ({', '.join(names)})", "dim"))
    for warning in verdict.warnings:
        console.print(_marked("!", f"{warning.what}. {warning.remedy}", "bold red"))
    if verdict.yardstick is None:
        note = "Neither reference answers nor the most that it can give are known: read the table."
        console.print(_marked("·", note, "dim"))
    elif not verdict.warnings:
        measure = f"more than half of {verdict.measured_by} ({number(verdict.yardstick)})"
        other = "other " if verdict.by_design else ""
        console.print(Text(f"No {other}cheap strategy earns {measure}."))


def _table(probe: RewardProbe, verdict: ProbeVerdict) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("  answers", no_wrap=True)
    terms = [*probe.earnings[0].terms]
    for heading in ("mean", "95% interval", *terms, "of max", "of ref."):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for earnings in _in_order(probe):
        shares = [
            share_of(probe, earnings, most)
            for most in (probe.bounds[1], probe.references and probe.references.mean)
        ]
        table.add_row(
            _marked_name(earnings, verdict),
            number(earnings.mean),
            interval(*(earnings.interval or (None, None))),
            *(number(earnings.terms[name]) for name in terms),
            *(NOTHING if part is None else f"{part:.0%}" for part in shares),
        )
    return table


def _add_examples(table: Table, probe: RewardProbe, room: int) -> None:
    texts = [" ".join(earned.example.answer.split()) or "(nothing)" for earned in _in_order(probe)]
    width = min(room, MOST)
    cells = [Text(text if len(text) <= width else f"{text[: width - 1]}…") for text in texts]
    column = Column("such as", no_wrap=True, _index=len(table.columns), _cells=[*cells])
    table.columns.append(column)


def _in_order(probe: RewardProbe) -> list[Earnings]:
    """Return the references and the model's answers first, then the strategies, the best first."""
    given = [earned for earned in probe.earnings if earned.kind is None]
    strategies = [earned for earned in probe.earnings if earned.kind is not None]
    return [*given, *sorted(strategies, key=lambda earned: -_mean(earned))]


def _marked_name(earnings: Earnings, verdict: ProbeVerdict) -> Text:
    if earnings in verdict.by_design:
        return Text.assemble(("· ", "dim"), earnings.name)
    wrong = earnings in verdict.paid or earnings.failure
    return Text.assemble(("! " if wrong else "  ", "bold red"), earnings.name)


def _marked(mark: str, text: str, style: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(mark, style=style), Text(text, style=style))
    return grid
