"""The card that a run ends with: what changed, what it cost, and what to distrust.

`card.json` is this dataclass, key by key. Numbers that are not finite are written as null: bare NaN
is not JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlexp.cards.cost import Cost
from rlexp.evaluation.changes import Change, changes
from rlexp.evaluation.extremes import largest_changes
from rlexp.evaluation.frontier import Frontier
from rlexp.evaluation.results import Evaluation, Pair
from rlexp.evaluation.slices import Slice, metric_slices
from rlexp.evaluation.win_rate import WinRate, win_rate_by_reward
from rlexp.guards.alert import GuardAlert
from rlexp.guards.final_checks import final_warnings
from rlexp.spec.guards import GUARDS

SAMPLES = 3

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Identity:
    """Which run it is."""

    run_id: str
    name: str
    status: str
    """As the tracker has it: FINISHED, FAILED or KILLED."""
    algo: str
    model: str
    data: str
    reward: str
    seed: int
    folder: str
    """Where everything of the run is."""
    open: str
    """The command that shows the run."""


@dataclass(frozen=True)
class Card(Identity):
    """One run at a glance; metric names are without their group."""

    before: Metrics
    after: Metrics
    """Empty for a run that did not reach its end; None for a number that is not finite."""
    intervals: dict[str, list[float | None]]
    """95 % intervals over the prompts, of `after` and of the win rate."""
    win_rate: float | None
    """How often a completion from after wins by the reward against one from before to the same
    prompt; ties count half."""
    train_seconds: float
    total_seconds: float
    tokens_per_second: float | None
    peak_memory_mib: float
    cost: dict[str, float]
    """Seconds of each phase, and the GPU's memory."""
    samples: list[Pair]
    guards: list[str]
    """What is suspicious: what fired while it trained, then what the end shows, the worst first."""
    notes: list[str] = field(default_factory=list)
    """What was done to data and model on the way."""
    firings: list[GuardAlert] = field(default_factory=list)
    """The guards that fired while it trained, with the samples that show it, by step."""
    changes: dict[str, Change] = field(default_factory=dict)
    """After minus before on the same prompts, with its paired 95 % interval."""
    ties: float | None = None
    """Share of the win rate's pairs of completions that are ties."""
    control: WinRate | None = None
    """A second sample of the policy before training against the first: 1/2 but for chance."""
    frontier: Frontier | None = None
    """Reward against KL, with best-of-n of the reference as the yardstick."""
    slices: list[Slice] = field(default_factory=list)
    """The reward by kinds of prompts."""
    gains: list[Pair] = field(default_factory=list)
    """Prompts whose mean reward rose most, with that mean before and after."""
    losses: list[Pair] = field(default_factory=list)
    """Those whose mean reward fell most."""

    def to_json(self, path: Path) -> None:
        """Write `card.json`."""
        text = json.dumps(_finite(asdict(self)), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path) -> Card:
        """Read what `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        for name in ("samples", "gains", "losses"):
            content[name] = [Pair(**pair) for pair in content.get(name, [])]
        for name, kind in (("firings", GuardAlert), ("slices", Slice)):
            content[name] = [kind.from_dict(each) for each in content.get(name, [])]
        told = content.get("changes", {})
        content["changes"] = {name: Change(**each) for name, each in told.items()}
        if control := content.get("control"):
            content["control"] = WinRate(**control)
        if found := content.get("frontier"):
            content["frontier"] = Frontier.from_dict(found)
        return cls(**content)


def build_card(
    identity: Identity,
    before: Evaluation | None,
    after: Evaluation | None,
    cost: Cost,
    *,
    notes: list[str],
    firings: Sequence[GuardAlert] = (),
    watched: Collection[str] = GUARDS,
    control: WinRate | None = None,
    frontier: Frontier | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    resamples: int,
    seed: int,
) -> Card:
    """Put a card together.

    Args:
        identity: which run it is.
        before: None if the run ended before there was any.
        after: None if the run did not finish.
        cost: what it took.
        notes: what was done to data and model on the way.
        firings: of the guards, while it trained.
        watched: guards that are not off.
        control: the policy before training against itself.
        frontier: the run against best-of-n.
        columns: what the prompts are sliced by; n values each.
        resamples: `eval.bootstrap`.
        seed: `eval.seed`.
    """
    old = dict(before.metrics) if before else {}
    new = dict(after.metrics) if after else {}
    intervals = dict(after.intervals) if after else {}
    won = (
        win_rate_by_reward(before.rewards, after.rewards, resamples, seed)
        if before and after
        else None
    )
    interval = None
    if won and won.low is not None and won.high is not None:
        intervals["win_rate"] = interval = won.low, won.high
    changed = changes(before, after, resamples, seed) if before and after else {}
    gains, losses = largest_changes(before, after)
    return Card(
        **asdict(identity),
        before=_finite(old),
        after=_finite(new),
        intervals={name: _finite(list(ends)) for name, ends in intervals.items()},
        win_rate=won.rate if won else None,
        train_seconds=cost.train_seconds,
        total_seconds=cost.total_seconds,
        tokens_per_second=cost.tokens_per_second,
        peak_memory_mib=cost.peak_memory_mib,
        cost=cost.details,
        samples=_pairs(before, after),
        guards=[*(each.sentence for each in firings), *final_warnings(old, new, interval, watched)],
        notes=notes,
        firings=list(firings),
        changes={name: Change(**_finite(vars(each))) for name, each in changed.items()},
        ties=won.ties if won else None,
        control=control,
        frontier=frontier,
        slices=metric_slices(before, after, columns or {}, resamples, seed),
        gains=gains,
        losses=losses,
    )


def _pairs(before: Evaluation | None, after: Evaluation | None) -> list[Pair]:
    """The first completions to the first prompts: none is picked for what it says."""
    firsts = [
        {sample.prompt: sample for sample in reversed(each.samples)} if each else {}
        for each in (before, after)
    ]
    some = before or after
    prompts = dict.fromkeys(sample.prompt for sample in some.samples) if some else {}
    pairs = []
    for prompt in list(prompts)[:SAMPLES]:
        old, new = (each.get(prompt) for each in firsts)
        pairs.append(
            Pair(
                prompt=prompt,
                before=old.completion if old else None,
                after=new.completion if new else None,
                reward_before=_finite(old.reward) if old else None,
                reward_after=_finite(new.reward) if new else None,
            )
        )
    return pairs


def _finite(value: Any) -> Any:
    """The same with None for each number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
