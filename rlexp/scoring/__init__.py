"""From a reward to the numbers that a training learns from and an evaluation shows."""

from rlexp.scoring.scorer import Scorer

__all__ = ["Scorer"]
