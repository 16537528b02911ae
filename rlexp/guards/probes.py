"""Probes: small evaluations that the guards ask for, and that every process takes part in.

The monitor lives in the first process, and asks for probes by yielding them: whoever drives it has
every process take part in each, so that a model that is spread over processes can be watched too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from rlexp.evaluation.results import Evaluation
from rlexp.runtime.collective import broadcast
from rlexp.spec.eval import EvalSpec
from rlexp.spec.run import RunSpec

NEEDS_PROBES = frozenset({"reward_hacking", "kl_budget", "forgetting", "collapse"})
"""Guards that go by held-out prompts."""


@dataclass(frozen=True)
class Probe:
    """A small evaluation that the monitor asks for."""

    step: int
    spec: EvalSpec


Probes = Generator[Probe, Evaluation, None]
"""Asks for probes one by one, and is sent what each has measured."""


def takes_probes(spec: RunSpec) -> bool:
    """Return whether anything is watched that needs held-out prompts."""
    return spec.algo.model_kind.writes and bool(NEEDS_PROBES & set(spec.guards.watched()))


def serve_probes(probes: Probes | None, take: Callable[[Probe], Evaluation]) -> None:
    """Take in every process the probes that the monitor asks for, which the first one has."""
    probe = broadcast(next(probes, None) if probes is not None else None)
    while probe is not None:
        evaluation = take(probe)
        probe = broadcast(_next_probe(probes, evaluation) if probes is not None else None)


def _next_probe(probes: Probes, evaluation: Evaluation) -> Probe | None:
    try:
        return probes.send(evaluation)
    except StopIteration:
        return None
