"""Look at a model without leaving a trace: its training resumes as if nobody had looked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def preserve_rng_and_modes(model: Any) -> Iterator[None]:
    """Eval mode inside; afterwards every module's mode and every random state is as it was.

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
