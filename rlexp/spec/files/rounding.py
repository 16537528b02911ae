"""Whether a learning rate moves weights of a given precision, or is rounded away."""

from __future__ import annotations

from rlexp.spec.errors import Problem
from rlexp.spec.model import ModelSpec

SIGNIFICAND = 8
"""Bits of a bfloat16's significand, the hidden one included: neighbours are 2^-7 of their power of
two apart, and a sum is rounded to the nearest, so that an update below 2^-8 of it is lost."""
USUAL_WEIGHT = 0.02
"""Standard deviation that transformers' models begin with (`initializer_range`): a weight's usual
size, also after training."""


def smallest_rate(weight: float = USUAL_WEIGHT) -> float:
    """Return the learning rate below which AdamW does not move a bfloat16 weight of this size.

    AdamW's step is about the learning rate, whatever the gradient: the update is divided by its own
    root mean square (Kingma and Ba 2015, arXiv:1412.6980, section 2.1).

    >>> round(smallest_rate(0.02), 7)
    7.81e-05
    """
    return weight * 2.0**-SIGNIFICAND


def rounding_problems(learning_rate: float, model: ModelSpec) -> list[Problem]:
    """Return a problem where all weights are trained in bfloat16, at a rate that it rounds away."""
    if model.dtype != "bfloat16" or learning_rate >= smallest_rate():
        return []
    got = f"bfloat16 for weights that are trained whole at algo.learning_rate={learning_rate:g}"
    want = (
        f"weights that a step of that size can move: a bfloat16 of {USUAL_WEIGHT} loses all below "
        f"{smallest_rate():.1g}"
    )
    remedy = (
        "Set model.dtype=float32 (hardware.mixed_precision=bf16 still computes in bfloat16), or "
        "peft=lora, whose adapter is float32."
    )
    return [Problem("model.dtype", got, want, remedy)]
