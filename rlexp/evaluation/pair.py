"""What a policy wrote to one prompt before and after training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two completions, and what the reward says of them; None where there is none."""

    prompt: str
    before: str | None
    after: str | None
    reward_before: float | None
    reward_after: float | None
