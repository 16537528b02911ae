"""The card that a run ends with: what changed, what it cost, and what to distrust.

`card.json` is this dataclass, key by key. Numbers that are not finite are written as null: bare NaN
is not JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlexp.cards.cost import Cost
from rlexp.evaluation.best_of_n.frontier import Frontier
from rlexp.evaluation.changes import Change, changes, largest_changes
from rlexp.evaluation.results import Evaluation, Pair, Sample
from rlexp.evaluation.slices import Slice, metric_slices
from rlexp.evaluation.win_rate import WinRate, win_rate_by_reward
from rlexp.guards.alert import GuardAlert
from rlexp.guards.final_checks import benchmark_warnings, final_warnings
from rlexp.rendering.numbers import finite
from rlexp.spec.guards import GuardsSpec

SAMPLES = 3
PAIRS = ("samples", "gains", "losses")
"""Fields that hold pairs; only a pair that has an `answer` tells of it."""

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
        content = finite(asdict(self))
        for pair in (pair for name in PAIRS for pair in content[name]):
            if not pair["answer"]:
                del pair["answer"]
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path) -> Card:
        """Read what `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        for name in PAIRS:
            content[name] = [Pair.from_dict(pair) for pair in content.get(name, [])]
        for name, kind in (("firings", GuardAlert), ("slices", Slice)):
            content[name] = [kind.from_dict(item) for item in content.get(name, [])]
        changes = content.get("changes", {})
        content["changes"] = {name: Change(**change) for name, change in changes.items()}
        if control := content.get("control"):
            content["control"] = WinRate(**control)
        if curve := content.get("frontier"):
            content["frontier"] = Frontier.from_dict(curve)
        return cls(**content)


def build_card(
    identity: Identity,
    before: Evaluation | None,
    after: Evaluation | None,
    cost: Cost,
    *,
    notes: list[str],
    guards: GuardsSpec,
    firings: Sequence[GuardAlert] = (),
    control: WinRate | None = None,
    frontier: Frontier | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    resamples: int,
    seed: int,
) -> Card:
    """Put a card together, of a run that may have ended before one or both of its evaluations.

    The control is the policy before training against itself; prompts are sliced by the columns.
    """
    old = dict(before.metrics) if before else {}
    new = dict(after.metrics) if after else {}
    intervals = dict(after.intervals) if after else {}
    won, changed, interval = None, {}, None
    if before and after:
        won = win_rate_by_reward(before.rewards, after.rewards, resamples, seed)
        changed = changes(before, after, resamples, seed)
    if won and won.low is not None and won.high is not None:
        intervals["win_rate"] = interval = won.low, won.high
    gains, losses = largest_changes(before, after)
    warnings = final_warnings(old, new, interval, guards)
    warnings += benchmark_warnings(before, after, changed, guards)
    return Card(
        **asdict(identity),
        **vars(cost),
        before=finite(old),
        after=finite(new),
        intervals={name: finite(list(ends)) for name, ends in intervals.items()},
        win_rate=won.rate if won else None,
        samples=_pairs(before, after),
        guards=[*(alert.sentence for alert in firings), *warnings],
        notes=notes,
        firings=list(firings),
        changes={name: Change(**finite(vars(change))) for name, change in changed.items()},
        ties=won.ties if won else None,
        control=control,
        frontier=frontier,
        slices=metric_slices(before, after, columns or {}, resamples, seed),
        gains=gains,
        losses=losses,
    )


def _pairs(before: Evaluation | None, after: Evaluation | None) -> list[Pair]:
    """Return the first completions to the first prompts: none is picked for what it says."""
    sides = [side.samples if side else [] for side in (before, after)]
    with_ids = all(sample.prompt_id is not None for side in sides for sample in side)
    old, new = (_first_samples(side, with_ids) for side in sides)
    return [_pair(old.get(key), new.get(key)) for key in list(old or new)[:SAMPLES]]


def _first_samples(samples: Sequence[Sample], with_ids: bool) -> dict[tuple[Any, str], Sample]:
    """Return the first sample of each prompt and answer; of each text where ids were not kept."""
    firsts: dict[tuple[Any, str], Sample] = {}
    for sample in samples:
        firsts.setdefault((sample.prompt_id if with_ids else sample.prompt, sample.answer), sample)
    return firsts


def _pair(old: Sample | None, new: Sample | None) -> Pair:
    known = old or new
    assert known is not None  # the key is that of a sample
    return Pair(
        prompt=known.prompt,
        before=old.completion if old else None,
        after=new.completion if new else None,
        reward_before=finite(old.reward) if old else None,
        reward_after=finite(new.reward) if new else None,
        answer=known.answer,
    )
