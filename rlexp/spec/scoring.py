"""How a run calls its reward, whichever it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from rlexp.spec.part import Part, off_as_word


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
    probe: Annotated[Literal["warn", "refuse", "off"], BeforeValidator(off_as_word)]
    """Whether cheap strategies (an echo of the prompt, one constant answer, a form without content)
    are scored on a few held-out rows before a training learns from the reward, and what follows
    where one of them earns more than half of what the data's reference answers earn: a line on the
    terminal and in the card, or no training."""
    timeout: float | None = Field(gt=0)
    """Seconds that a call of a pure-Python term may take, for a batch or a worker's part of it:
    beyond them the call is killed, and counts as an error. Such terms then run in processes of
    their own from the first batch on; null sets no limit. A judge has its own
    (`reward.timeout`), and a model on the device none."""
