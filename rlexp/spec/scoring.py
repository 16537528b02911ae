"""How a run calls its reward, whichever it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlexp.spec.part import Part


class ScoringSpec(Part):
    """What is forgiven to a reward, and how many processes it may have."""

    on_error: Literal["stop", "missing"]
    """What a completion does on which a term raises, or gives no finite number: end the run, or
    count as missing. Never as 0."""
    max_missing: float = Field(ge=0, le=1)
    """Share of a term's values in a batch (over all processes) or in an evaluation that may be
    missing, after an error or because the term itself cannot tell; beyond it the run ends."""
    workers: int | None = Field(ge=0)
    """Processes that pure-Python terms run in where a batch keeps them busy for long enough to
    gain; null: one a core, 8 at most; 0: none."""
