"""A report on people's judgements, on the terminal and as the card that goes with the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import mul

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rlexp.labelling.cautions import Caution, cautions, places_shown
from rlexp.labelling.report import FeedbackReport
from rlexp.rendering.numbers import NOTHING, interval, number, share

MOST_ANNOTATORS = 20
"""Annotators with a line of their own, those with the most verdicts; the rest is in the json."""
MOST_VALUES = 11
"""Scores that are counted one by one: 0 to 10."""
SHOWN = {1.0: "first", -1.0: "second", 0.0: "tie"}
"""Verdicts on a pair as it was shown."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class _Section:
    title: str
    header: Sequence[str]
    """Empty where the rows are a name and what there is to say."""
    rows: Sequence[Sequence[str]]


def print_feedback_report(report: FeedbackReport, console: Console) -> None:
    """Print all of it, warnings last."""
    console.print(Text(_title(report), style="bold"), soft_wrap=True)
    for section in _sections(report):
        console.print()
        console.print(Text(section.title, style="bold"))
        console.print(Padding(_table(section), (0, 0, 0, 2), expand=False))
    console.print()
    warnings = cautions(report)
    for caution in warnings:
        console.print(_marked(caution))
    if not warnings:
        console.print(Text("Nothing to be warned of."))


def feedback_card(report: FeedbackReport, facts: Mapping[str, str]) -> str:
    """Return the card of a version, in Markdown.

    Args:
        report: on what it was made from.
        facts: further ones, by name: the command, the source's digest.
    """
    lines = [f"# {_escaped(_title(report))}", ""]
    lines += [f"- {name}: `{text}`" for name, text in facts.items()]
    for section in _sections(report):
        columns = section.header or ("", "")
        lines += ["", f"## {section.title}", "", _line(columns), "|---" * len(columns) + "|"]
        lines += [_line(row) for row in section.rows]
    lines += ["", "## Warnings", ""]
    warnings = [
        f"- {_escaped(caution.what)}. {_escaped(caution.remedy)}" for caution in cautions(report)
    ]
    return "\n".join([*lines, *(warnings or ["None."]), ""])


def _title(report: FeedbackReport) -> str:
    of = "of two answers" if report.shape == "pairs" else "of an answer"
    rows = f"{report.rows} rows ({report.format})"
    return f"{report.source}: {report.judgements} judgements {of}, {rows}"


def _sections(report: FeedbackReport) -> Iterator[_Section]:
    yield _Section("what there is", (), [*_counts(report)])
    rows = [
        (a.measure, number(a.value), interval(*(a.interval or (None, None))), str(a.items))
        for a in report.agreement
    ]
    if report.alpha.items:
        yield _Section("agreement", ("", "", "95% interval", "items"), rows)
    leans = [
        (f"{name} wins", share(there.share), _shares(there.interval), str(there.verdicts))
        for name, there in report.leans.items()
    ]
    if leans:
        yield _Section("leaning", ("", "", "95% interval", "verdicts"), leans)
    if 0 < len(report.annotators) <= MOST_ANNOTATORS or any(p.shared for p in report.annotators):
        yield _annotators(report)
    yield _Section("consistency", (), [*_consistency(report)])
    left_out = [*report.left_out.items(), *report.no_rows.items()]
    if left_out:
        yield _Section("left out", (), [(reason, str(count)) for reason, count in left_out])
    if report.notes:
        yield _Section("taken for granted", (), [(note,) for note in report.notes])


def _counts(report: FeedbackReport) -> Iterator[tuple[str, str]]:
    votes = report.votes_per_item.items()
    judged = "; ".join(f"{items} by {'one' if n == 1 else n}" for n, items in votes)
    what = "pairs of answers" if report.shape == "pairs" else "answers"
    yield "read", f"{report.lines} lines, {report.judgements} judgements that count"
    yield (
        what,
        f"{report.items}, to {report.prompts} prompts" if report.prompts else str(report.items),
    )
    yield "judged", judged
    yield "annotators", str(len(report.annotators) or "unknown")
    yield "verdicts", _verdicts(report)


def _verdicts(report: FeedbackReport) -> str:
    total = sum(report.verdicts.values())
    if len(report.verdicts) > MOST_VALUES:
        scores = [float(score) for score in report.verdicts]
        mean = sum(map(mul, scores, report.verdicts.values())) / total
        return f"{len(scores)} scores from {min(scores):g} to {max(scores):g}, mean {number(mean)}"
    names = {"a": "first", "b": "second"} if report.shape == "pairs" else {}
    return ", ".join(
        f"{names.get(verdict, verdict)}: {times} ({share(times / total)})"
        for verdict, times in report.verdicts.items()
    )


def _consistency(report: FeedbackReport) -> Iterator[tuple[str, str]]:
    places = [" and ".join(entry.places) for entry in report.contradictions]
    yield "said twice by one person, counted once", _listed(report.repeated)
    yield "said both ways by one person", _listed(places)
    if report.shape == "pairs":
        yield (
            "prompts with a circle A > B > C > A",
            _listed([" → ".join(c) for c in report.circles]),
        )
        own = ", ".join(f"{name} on {count}" for name, count in report.own_circles.items())
        yield "of one person alone", own or "0"


def _listed(places: list[str]) -> str:
    return f"{len(places)}: {places_shown(places)}" if places else "0"


def _annotators(report: FeedbackReport) -> _Section:
    pairs = report.shape == "pairs"
    habits = ("first", "ties") if pairs else ("mean", "sd", "above others")
    header = ("", "verdicts", "shared", "kappa with others", "alpha without", *habits, "always")
    rows = []
    most = sorted(report.annotators, key=lambda profile: (-profile.verdicts, profile.name))
    for profile in most[:MOST_ANNOTATORS]:
        kappa, always = profile.kappa, profile.always
        ends = f" {interval(*kappa.interval)}" if kappa and kappa.interval else ""
        own = [number(profile.mean), number(profile.spread), _signed(profile.above_others)]
        if pairs:
            own = [
                NOTHING if part is None else share(part) for part in (profile.first, profile.ties)
            ]
        said = "" if always is None else SHOWN.get(always, "") if pairs else f"{always:g}"
        rows.append(
            (
                profile.name,
                str(profile.verdicts),
                str(profile.shared),
                f"{number(kappa.value)}{ends}" if kappa else NOTHING,
                number(profile.alpha_without),
                *own,
                said,
            )
        )
    more = len(report.annotators) - len(rows)
    return _Section(
        f"annotators{f' ({more} more with fewer verdicts)' if more else ''}", header, rows
    )


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.2f}"


def _shares(ends: tuple[float, float] | None) -> str:
    return f"[{share(ends[0])}, {share(ends[1])}]" if ends else ""


def _table(section: _Section) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(section.header))
    for number_of, heading in enumerate(section.header or section.rows[0]):
        right = bool(section.header) and number_of > 0
        table.add_column(heading if section.header else "", justify="right" if right else "left")
    for row in section.rows:
        table.add_row(*map(Text, row))
    return table


def _marked(caution: Caution) -> Table:
    grid = Table.grid(padding=(0, 1))
    text = Text.assemble((f"{caution.what}.", "bold red"), f" {caution.remedy}")
    grid.add_row(Text("!", style="bold red"), text)
    return grid


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
