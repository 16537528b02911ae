"""The alert of a guard that fires, the same for spool, MLflow, terminal and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class ExampleSample:
    """A sample that shows what is wrong."""

    prompt: str
    completion: str
    reward: float | None
    grammatical: float | None
    """Share of grammatical sentences; None where the data cannot tell."""


@dataclass(frozen=True)
class GuardAlert:
    """The alert of one guard at one step."""

    guard: str
    """One of `rlexp.spec.guards.GUARDS`."""
    step: int
    """Optimizer steps done."""
    action: Literal["warn", "stop"]
    """What was done about it."""
    what: str
    """What was seen, with its numbers."""
    cause: str
    """The likely cause."""
    remedy: str
    """The knob to turn."""
    samples: list[ExampleSample] = field(default_factory=list)
    """Those that show it best; none where only numbers do."""

    @property
    def title(self) -> str:
        """The guard, and what came of it, in a few words."""
        stopped = ", and stopped the run" if self.action == "stop" else ""
        when = f"at step {self.step}" if self.step else "before training"
        return f"{self.guard.replace('_', ' ')} {when}{stopped}"

    @property
    def sentence(self) -> str:
        """All of it but the samples, in one paragraph."""
        return f"{self.title}: {self.what}. Likely cause: {self.cause}. {self.remedy}."

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> GuardAlert:
        """Undo `dataclasses.asdict`."""
        samples = [ExampleSample(**sample) for sample in fields["samples"]]
        return cls(**{**fields, "samples": samples})
