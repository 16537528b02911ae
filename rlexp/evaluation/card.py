"""The card that a run ends with: what changed, what it cost, and what to distrust.

`card.json` is this dataclass, key by key. Numbers that are not finite are written as null: bare NaN
is not JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlexp.evaluation.cost import Cost
from rlexp.evaluation.evaluate import Evaluation, win_rate, wins
from rlexp.evaluation.guards import guards
from rlexp.intervals import bootstrap_ratio

SAMPLES = 3

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Pair:
    """What the policy wrote to one prompt before and after training."""

    prompt: str
    before: str | None
    after: str | None
    reward_before: float | None
    reward_after: float | None


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
    """Share of prompts whose mean reward is higher after; ties count half."""
    train_seconds: float
    total_seconds: float
    tokens_per_second: float | None
    peak_memory_mib: float
    cost: dict[str, float]
    """Seconds of each phase, and the GPU's memory."""
    samples: list[Pair]
    guards: list[str]
    """What is suspicious, the worst first."""
    notes: list[str] = field(default_factory=list)
    """What was done to data and model on the way."""

    def to_json(self, path: Path) -> None:
        """Write `card.json`."""
        text = json.dumps(_finite(asdict(self)), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path) -> Card:
        """Read what `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        samples = [Pair(**sample) for sample in content.pop("samples")]
        return cls(**content, samples=samples)


def build_card(
    identity: Identity,
    before: Evaluation | None,
    after: Evaluation | None,
    cost: Cost,
    *,
    notes: list[str],
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
        resamples: `eval.bootstrap`, for the interval of the win rate.
        seed: `eval.seed`.
    """
    old = dict(before.metrics) if before else {}
    new = dict(after.metrics) if after else {}
    intervals = dict(after.intervals) if after else {}
    won = wins(before, after) if before and after else []
    interval = bootstrap_ratio(won, [1.0] * len(won), resamples, seed)
    if interval:
        intervals["win_rate"] = interval
    return Card(
        **asdict(identity),
        before=_finite(old),
        after=_finite(new),
        intervals={name: _finite(list(ends)) for name, ends in intervals.items()},
        win_rate=win_rate(before, after) if before and after else None,
        train_seconds=cost.train_seconds,
        total_seconds=cost.total_seconds,
        tokens_per_second=cost.tokens_per_second,
        peak_memory_mib=cost.peak_memory_mib,
        cost=cost.details,
        samples=_pairs(before, after),
        guards=guards(old, new, interval),
        notes=notes,
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
