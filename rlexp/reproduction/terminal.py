"""Terminal output of a reproduction: readable at 80 columns, and without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlexp.reproduction.differences import EnvironmentDifference, differing_attempts
from rlexp.reproduction.matching import Match, Verdict, overall_verdict
from rlexp.reproduction.recorded import RecordedRun

SENTENCES: dict[Verdict, str] = {
    "exactly": "Reproduced exactly: every value is the same, bit for bit.",
    "closely": "Reproduced closely: no value is off by more than a millionth of itself.",
    "differs": "Not reproduced.",
}


def print_plan(recorded: RecordedRun, pinned: dict[str, Any], console: Console) -> None:
    """Print which run it is, and which keys are held to what they turned out to be."""
    record, origin = recorded.record, recorded.origin
    count = len(recorded.attempts)
    resumed = f", {count} attempts" if count > 1 else ""
    console.print(Text.assemble((record.name, "bold"), f" {record.run_id}", style=""))
    git = origin.get("git") or {}
    commit = (git.get("commit") or "no commit")[:8] + (" and changes" if git.get("diff") else "")
    rows = sum(len(points) for points in recorded.metrics.values())
    state = record.status.lower() + resumed
    console.print(f"{state}, {commit}, {rows} values of {len(recorded.metrics)} metrics")
    lengths = [str(stage["settings"]["train"]["max_steps"]) for stage in recorded.stages()]
    if len(lengths) > 1:
        console.print(f"  trained to step {', then to '.join(lengths)}, as then")
    for note in differing_attempts(recorded):
        console.print(f"  {note}")
    for key, value in sorted(pinned.items()):
        console.print(Text(f"  {key}={value}, as it turned out then"), soft_wrap=True)


def print_differences(
    differences: Sequence[EnvironmentDifference], console: Console, where: str = "here"
) -> None:
    """Print what is other, and below the table what to type."""
    count = len(differences)
    if not count:
        console.print(f"Nothing is other {where} than it was then.")
        return
    console.print(f"{count} thing{'' if count == 1 else 's'} other {where} than then:")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "then", "here"):
        table.add_column(heading, overflow="fold")
    for difference in differences:
        table.add_row(Text(difference.what), Text(difference.then), Text(difference.here))
    console.print(table)
    commands = dict.fromkeys(change.remedy for change in differences if change.remedy)
    if commands:
        console.print("To have it back:")
    for remedy in commands:
        console.print(Text(f"  {remedy}"), soft_wrap=True)


def print_matches(matches: Sequence[Match], console: Console) -> None:
    """Print a line for each metric, those that part first at the top, and the verdict."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric", no_wrap=True)
    for heading in ("points", "parts at step", "largest |a-b|", "relative"):
        table.add_column(heading, justify="right", no_wrap=True)
    for match in matches:
        if match.parted is None:
            table.add_row(match.name, str(match.points), "same", "", "", style="dim")
        else:
            points = f"{match.points} (+{match.missing})" if match.missing else str(match.points)
            numbers = (_magnitude(match.absolute), _magnitude(match.relative))
            table.add_row(match.name, points, str(match.parted), *numbers)
    console.print(table)
    if any(match.missing for match in matches):
        console.print("(+n): n steps at which one of the two runs has no value.")
    same = sum(match.parted is None for match in matches)
    console.print(Text(SENTENCES[overall_verdict(matches)], style="bold"))
    if same < len(matches):
        parted = [match.parted for match in matches if match.parted is not None]
        first = f"; they part at step {min(parted)}" if parted else ""
        console.print(f"{same} of {len(matches)} metrics are the same bit for bit{first}.")


def _magnitude(value: float) -> str:
    return "infinite" if math.isinf(value) else f"{value:.1e}"
