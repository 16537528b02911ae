"""Evaluating a model without a trace: its training resumes as if it had not been evaluated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module


@contextmanager
def preserve_rng_and_modes(model: Module) -> Iterator[None]:
    """Put a model into eval mode for the block; afterwards all modes and random states are back.

    Covers Python's, NumPy's, and torch's generators on the CPU and on all CUDA devices in use.
    """
    import numpy as np
    import torch

    modes = [(module, module.training) for module in model.modules()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    # Asking an idle CUDA for its state would create a context of some 500 MiB on each device.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    model.eval()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(python_state)
        np.random.set_state(numpy_state)
