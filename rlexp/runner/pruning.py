"""How a run can be given up before its end: whoever launches it hands in a `TrialReporter`.

The run reports the tracked metric that the reporter names after each evaluation, and ends when it
is told to. What is behind the reporter, a study or anything else, the run does not know.
"""

from __future__ import annotations

from typing import Protocol

PRUNED = "pruned"
"""Event in the spool of a run that was given up."""


class TrialReporter(Protocol):
    """Is told how a run gets on, and says whether it is worth going on."""

    @property
    def metric(self) -> str:
        """Name of the tracked metric that is reported, such as `eval/reward`."""
        ...

    def report(self, step: int, value: float) -> bool:
        """Take the metric's value after `step` optimizer steps; return whether to prune."""
        ...

    def to_config(self) -> dict[str, object]:
        """Return `_target_` and plain fields, of which another process can make the reporter."""
        ...
