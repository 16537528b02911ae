"""What is run of a pipeline: `--force`, `--from`, `--until`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from rlexp.pipelines.planning.planned import PipelinePlan
from rlexp.pipelines.stage_key import StageKey
from rlexp.pipelines.stage_runs import finished_run, folder_of
from rlexp.runner.pruning import TrialReporter
from rlexp.runtime.run_folder import SPOOL
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.spool.history import RunHistory


@dataclass
class Orders:
    """What is run of a pipeline."""

    forced: frozenset[str] = frozenset()
    """Stages, by name, that run again though they have finished."""
    first: str | None = None
    """The stage with which it begins: those before it are used where they are needed, and never
    run; None: with the first one."""
    last: str | None = None
    """The stage with which it ends; None: with the last one."""
    reporters: Mapping[str, TrialReporter] = field(default_factory=dict)
    """By stage, what hears how its run gets on, and may end it."""
    reports: bool = True
    """Whether a report is written and printed at the end."""

    @property
    def whole(self) -> bool:
        """Whether all stages are wanted."""
        return self.first is None and self.last is None


def descendants(plan: PipelinePlan, names: frozenset[str]) -> frozenset[str]:
    """Return stages by name, with all that use what they make."""
    chosen = set(names)
    for stage in plan.stages:
        if any(parent in chosen for parents in stage.parents.values() for parent in parents):
            chosen.add(stage.name)
    return frozenset(chosen)


def unneeded(plan: PipelinePlan, first: str | None) -> set[str]:
    """Return the stages before `first` that neither it nor a later one uses, by name."""
    if first is None:
        return set()
    names = [stage.name for stage in plan.stages]
    needed = set(names[names.index(first) :])
    for stage in reversed(plan.stages):
        if stage.name in needed:
            needed |= {name for parents in stage.parents.values() for name in parents}
    return set(names) - needed


def check_parents(plan: PipelinePlan, keys: Mapping[str, StageKey], first: str) -> None:
    """Check that the stages before `first` that it and later ones use have finished.

    Raises:
        UserError: one has not.
    """
    problems = []
    skipped = unneeded(plan, first)
    for stage in takewhile(lambda stage: stage.name != first, plan.stages):
        key = keys[stage.name].key
        if stage.name in skipped or stage.choice or finished_run(stage, key, stage.tracking_uri):
            continue
        folder = folder_of(key)
        history = RunHistory.read(folder / SPOOL)
        got = f"{stage.name}, which has not run as it would now"
        if history is not None:
            got = f"{stage.name}, whose run ended {history.status or 'before its time'}: {folder}"
        remedy = f"Leave --from away, or type --from {stage.name}"
        problems.append(Problem("--from", got, "a stage that has finished", remedy))
    if problems:
        raise UserError(problems)
