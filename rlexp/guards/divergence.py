"""Divergence: numbers that no training recovers from, each with its likely cause and its knob."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rlexp.spec.errors import RunFailed

KL_LIMIT = 20.0
"""Nats a token from the reference. A sound training stays below 1, gibberish that was learned
without a KL penalty reached 4, and a uniform choice among 150,000 tokens costs 12 at most."""

_BLOWN_UP = (
    "a learning rate that is too large, or a precision too coarse for the model",
    "lower algo.learning_rate (a third is a good next try), raise train.warmup_steps, or set "
    "model.dtype=float32 hardware.mixed_precision=no",
)
_DRIFTED = (
    "updates that carry the policy away from its reference faster than the KL penalty holds it",
    "lower algo.learning_rate (a third is a good next try), raise algo.beta, or set "
    "train.max_grad_norm=1",
)
_OVERSHOT = (
    "updates that carry the policy far from the one that sampled, within one batch of answers",
    "lower algo.learning_rate (a third is a good next try) or algo.epochs, or set "
    "algo.early_stop_kl=0.1",
)
CAUSES = {"kl": _DRIFTED, "ratio": _OVERSHOT, "loss": _BLOWN_UP, "grad_norm": _BLOWN_UP}
"""By the trainers' names; the one that tells most comes first."""


def check_numbers(logs: Mapping[str, float], step: int) -> None:
    """Check that a step's numbers, as a trainer logs them, can be trained on.

    Raises:
        RunFailed: a loss, gradient, KL or ratio that is no finite number, or a KL a token beyond
            `KL_LIMIT` in a training on the policy's own answers.
    """
    for name, (cause, remedy) in CAUSES.items():
        value = logs.get(name)
        if value is None:
            continue
        # Without samples, `kl` is whatever the trainer makes of the data's answers.
        finite = math.isfinite(value)
        exploded = finite and name == "kl" and "reward" in logs and value > KL_LIMIT
        if exploded or not finite:
            limit = f" nats a token, above {KL_LIMIT:g}," if exploded else ""
            raise RunFailed(f"{name} became {value:.6g}{limit} at step {step}", cause, remedy)
