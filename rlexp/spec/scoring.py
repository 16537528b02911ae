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
    timeout: float | None = Field(default=None, gt=0)
    """Seconds that a call of a pure-Python term may take, for a batch or a worker's part of it:
    beyond them the call is killed, and counts as an error. Such terms then run in processes of
    their own from the first batch on; null sets no limit. A judge has its own
    (`reward.timeout`), and a model on the device none."""
