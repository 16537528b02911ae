"""The report of a pipeline on the terminal: within 100 columns, and without colour."""

from __future__ import annotations

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rlexp.pipelines.family.tree import render_tree
from rlexp.pipelines.report import wording
from rlexp.pipelines.report.answers import AnsweredPrompt
from rlexp.pipelines.report.over_optimisation import RewardCurve
from rlexp.pipelines.report.report import PipelineReport
from rlexp.pipelines.report.scales import Standings
from rlexp.rendering.numbers import NOTHING, duration, number, share, short
from rlexp.rendering.paragraphs import marked, one_paragraph

PROMPTS = 3
CHARACTERS = 200
POINTS = 12
"""Rows of a curve; the page has all."""


def print_pipeline_report(report: PipelineReport, console: Console) -> None:
    """Print headline, tree, what to distrust, what was bought and what it cost, and answers."""
    console.print(Rule(Text(f"{report.name}: {report.headline}", style="bold")))
    tree = render_tree(report.stages, report.base, report.remarks)
    console.print(Text(tree, overflow="fold"))
    warnings = map(wording.first_sentence, report.warnings)
    for sentences, mark, style in (
        ([*report.alarms, *warnings], "!", "bold red"),
        (report.findings, "·", ""),
    ):
        if sentences:
            console.print()
        for sentence in sentences:
            console.print(marked(mark, sentence, style))
    for table in report.standings:
        _section(console, f"What each stage bought, by {table.scale.label}", _standings(table))
    _section(
        console, "How far each went (KL, nats a token), and what it forgot", _distances(report)
    )
    _section(console, "What each stage cost", _costs(report))
    for curve in report.curves:
        if len(curve.points) > 2:
            title = f"{curve.reward} and {curve.gold} along the training of {curve.policy}"
            _section(console, title, _curve(curve, report))
    main = report.standings[0].scale.label if report.standings else ""
    if report.prompts:
        console.print()
        title = f"The same prompts, answered by each{f', with {main}' if main else ''}"
        console.print(Text(title, style="bold"))
    for prompt in report.prompts[:PROMPTS]:
        _print_prompt(prompt, main, console)
    if report.notes:
        console.print()
    for note in report.notes:
        console.print(marked("·", note, "dim"))


def _section(console: Console, title: str, table: Table) -> None:
    if table.row_count:
        console.print()
        console.print(Text(title, style="bold"))
        console.print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _standings(standings: Standings) -> Table:
    table = _table("", "mean", "on the stage before", "wins", "on the base", "wins")
    for row in standings.rows:
        gains = row.on_parent, row.on_base
        cells = [
            (wording.difference(gain.change), share(gain.wins.rate)) if gain else ("", "")
            for gain in gains
        ]
        table.add_row(Text(row.policy), number(row.value), *cells[0], *cells[1])
    return table


def _distances(report: PipelineReport) -> Table:
    table = _table("", "from reference", "from base", "perplexity", "its change", "since the base")
    for row in report.distances:
        table.add_row(
            Text(row.policy),
            number(row.kl),
            number(row.kl_base),
            number(row.perplexity),
            wording.difference(row.forgotten) if row.forgotten else NOTHING,
            wording.difference(row.forgotten_base) if row.forgotten_base else NOTHING,
        )
    return table


def _costs(report: PipelineReport) -> Table:
    table = _table("", "algo", "state", "steps", "training", "in total", "tokens")
    for row in report.costs:
        table.add_row(
            Text(row.stage),
            Text(row.algo),
            row.state,
            NOTHING if row.steps is None else str(row.steps),
            duration(row.train_seconds) if row.train_seconds else NOTHING,
            duration(row.seconds),
            NOTHING if row.tokens is None else f"{row.tokens:,}",
        )
    table.add_row("all", "", "", "", "", duration(sum(row.seconds for row in report.costs)), "")
    return table


def _curve(curve: RewardCurve, report: PipelineReport) -> Table:
    """Return the curve's points, evenly thinned, with how far both rewards agree at each."""
    pairs = (one for one in report.agreements if one.policy == curve.policy)
    agreement = next(one for one in pairs if one.gold == curve.gold)
    rates = dict(zip(agreement.steps, agreement.rates, strict=True))
    table = _table("step", "√KL, nats an answer", curve.reward, f"{curve.gold} (gold)", "agree on")
    last = len(curve.points) - 1
    shown = sorted({round(last * part / (POINTS - 1)) for part in range(POINTS)})
    for point in (curve.points[place] for place in shown):
        rate = rates.get(point.step)
        table.add_row(
            str(point.step),
            number(point.root_kl),
            *(
                wording.value_and_ends(one.value, one.low, one.high)
                for one in (point.reward, point.gold)
            ),
            share(rate.rate) if rate else NOTHING,
        )
    return table


def _print_prompt(prompt: AnsweredPrompt, main: str, console: Console) -> None:
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row("prompt", Text(one_paragraph(prompt.prompt, CHARACTERS), style="italic"))
    for answer in prompt.answers:
        reward = answer.rewards.get(main)
        label = f"  {wording.short_policy(answer.policy)}"
        label += "" if reward is None else f" {short(reward, '+')}"
        text = (
            "no answer to this prompt"
            if answer.text is None
            else one_paragraph(answer.text, CHARACTERS)
        )
        grid.add_row(Text(label), Text(text or NOTHING))
    console.print(grid)
