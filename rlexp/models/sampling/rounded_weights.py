"""Weights in bfloat16 for as long as answers are sampled.

Decoding is bound by the bytes of the weights, and a step of it is many small operations: under
autocast, which rounds the inputs of each, it takes longer than in float32
(`benchmarks/real_speed.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def rounded_weights(model: torch.nn.Module) -> Iterator[None]:
    """Let a model read float32 weights rounded to bfloat16 within the block.

    The parameters themselves stay as they are, with what has been hooked to them: others stand in
    their places. It costs half of their memory.
    """
    rounded: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    places = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter.dtype == torch.float32
    ]
    for _, _, parameter in places:
        if parameter not in rounded:  # tied weights stay one
            half = parameter.detach().to(torch.bfloat16)
            rounded[parameter] = torch.nn.Parameter(half, requires_grad=False)
    try:
        for module, name, parameter in places:
            module._parameters[name] = rounded[parameter]
        yield
    finally:
        for module, name, parameter in places:
            module._parameters[name] = parameter
