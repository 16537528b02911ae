"""What a pipeline would do, before it does it: what is there, what would run, why, and how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlexp.pipelines.orders import Orders, unneeded
from rlexp.pipelines.planning.planned import PipelinePlan, PlannedStage
from rlexp.pipelines.stage_key import StageKey
from rlexp.pipelines.stage_runs import Earlier, StageRun, earlier_run, finished_run
from rlexp.spec.keys import value_at

if TYPE_CHECKING:
    from rich.console import Console

STEPS = "train.max_steps"
_SHOWN = 3
"""Differences that are told of one stage."""


@dataclass(frozen=True)
class Outlook:
    """What would become of a stage."""

    stage: PlannedStage
    run: StageRun | None
    """The finished run that would be used; None: it would run."""
    reasons: tuple[str, ...] = ()
    """Why it would run."""
    seconds: float | None = None
    """How long that might take, by the run before; None where there was none."""


def look_ahead(
    plan: PipelinePlan,
    keys: Mapping[str, StageKey],
    orders: Orders,
) -> list[Outlook]:
    """Return what would become of each stage that is wanted, in their order."""
    skipped = unneeded(plan, orders.first)
    outlooks: list[Outlook] = []
    would_run: set[str] = set()
    for stage in plan.stages:
        if stage.name in skipped:
            continue
        if stage.choice:
            outlooks.append(Outlook(stage, None, (f"best by {stage.choice.metric}",)))
        else:
            key = keys[stage.name]
            forced = stage.name in orders.forced
            run = None if forced else finished_run(stage, key.key, stage.tracking_uri)
            if run:
                outlooks.append(Outlook(stage, run))
            else:
                would_run.add(stage.name)
                earlier = earlier_run(stage, plan.name, key.ingredients)
                reasons = tuple(_reasons(stage, earlier, forced, would_run))
                outlooks.append(Outlook(stage, None, reasons, _seconds(stage, earlier)))
        if stage.name == orders.last:
            break
    return outlooks


def print_overview(plan: PipelinePlan, outlooks: Sequence[Outlook], console: Console) -> None:
    """Print what would become of each stage, and how long that would take in all."""
    from rich.table import Table

    runs = [look for look in outlooks if look.run is None and not look.stage.choice]
    there = sum(look.run is not None for look in outlooks)
    known = [look.seconds for look in runs if look.seconds is not None]
    time = ""
    if known:
        missing = len(runs) - len(known)
        rest = f" and {missing} stage{'s' * (missing > 1)} that never ran here" * bool(missing)
        time = f", about {_minutes(sum(known))}{rest}"
    console.print(
        f"pipeline {plan.name}: {there} there, {len(runs)} would run{time}", highlight=False
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("stage", "", "uses", "why, or where"):
        table.add_column(title, overflow="fold")
    for look in outlooks:
        table.add_row(look.stage.name, *_cells(look))
    console.print(table, highlight=False, markup=False)


def _cells(look: Outlook) -> tuple[str, str, str]:
    uses = "\n".join(f"{', '.join(names)} ({key})" for key, names in look.stage.parents.items())
    if look.stage.choice:
        return "chosen", uses, look.reasons[0]
    if look.run:
        return "there", uses, str(look.run.folder)
    time = f"about {_minutes(look.seconds)}" if look.seconds is not None else ""
    return "runs", uses, "\n".join([*look.reasons, *([time] if time else [])])


def _reasons(
    stage: PlannedStage, earlier: Earlier | None, forced: bool, would_run: set[str]
) -> Iterator[str]:
    if forced:
        yield "forced"
        return
    parents = {name for names in stage.parents.values() for name in names}
    if again := sorted(parents & would_run):
        yield f"{', '.join(again)} would run"
    if earlier is None:
        yield "it has not run before"
        return
    own = [(name, pair) for name, pair in earlier.changes.items() if not name.startswith("stage ")]
    for name, (before, after) in own[:_SHOWN]:
        yield f"{name}: {_short(before)} -> {_short(after)}"
    if len(own) > _SHOWN:
        yield f"and {len(own) - _SHOWN} more differences"
    if not own and not again:
        changed = any(name.startswith("stage ") for name in earlier.changes)
        yield "what it uses is another" if changed else "its run has not finished, or was removed"


def _seconds(stage: PlannedStage, earlier: Earlier | None) -> float | None:
    """Return how long a stage might take: training in proportion to the steps, the rest as then."""
    if earlier is None or stage.config is None:
        return None
    training = float(earlier.run.card.get("train_seconds") or 0.0)
    steps = value_at(stage.config, STEPS)
    before, _ = earlier.changes.get(STEPS, (steps, steps))
    return earlier.run.seconds - training + training * steps / (before or steps)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _minutes(seconds: float | None) -> str:
    seconds = seconds or 0.0
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
