"""Branches of one stem set against each other: which way of training was worth more?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rlexp.pipelines.report.costs import distances
from rlexp.pipelines.report.runs import MeasuredPipeline
from rlexp.pipelines.report.scales import Gain, Measurement, Standings, compared

MOST = 4
"""Branches that are all compared with each other; of more the best is with the others."""


@dataclass(frozen=True)
class Rivalry:
    """The last stages of two branches."""

    policy: str
    gain: Gain
    """Of the policy, on the other one."""
    steps: int
    """Optimizer steps since the base."""
    other_steps: int
    kl: float | None
    """Nats a token, from the base."""
    other_kl: float | None


def branch_ends(pipeline: MeasuredPipeline) -> list[str]:
    """Return the policies that no other policy goes on with."""
    used = {pipeline.began_with(run) for run in pipeline.policies}
    return [run.name for run in pipeline.policies if run.name not in used]


def rivalries(
    pipeline: MeasuredPipeline, found: Sequence[Measurement], main: Standings | None
) -> list[Rivalry]:
    """Return the ends of branches against each other on the main scale.

    What is asked is whether a loop beats what is none, else whether the later beats the earlier.
    """
    if main is None:
        return []
    ends = branch_ends(pipeline)
    values = {row.policy: row.value for row in main.rows if row.policy in ends}
    looped = {run.name: run.record.round is not None for run in pipeline.policies}
    ends = sorted((name for name in ends if name in values), key=lambda name: looped[name])
    pairs = list(combinations(ends, 2))
    if len(ends) > MOST:
        best = max(ends, key=lambda name: values[name])
        pairs = [(name, best) for name in ends if name != best]
    steps = {run.name: pipeline.steps(run) for run in pipeline.policies}
    kl = {row.policy: row.kl_base for row in distances(pipeline)}
    return [
        Rivalry(second, gain, steps[second], steps[first], kl[second], kl[first])
        for first, second in pairs
        if (gain := compared(found, first, second, main.scale.label))
    ]
