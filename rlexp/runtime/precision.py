"""In what precision matrices are multiplied: weights, losses and the optimizer stay float32.

Under autocast weights are rounded to 16 bits as they are multiplied. Many CPUs multiply bfloat16
several times as fast as float32 (AVX512-BF16, AMX), others emulate it: which it is here is measured
once, and remembered, so that the same command gives the same numbers on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlexp.runtime.cache import cache_folder, make_once
from rlexp.spec.files.devices import cpu_has_bf16, has_bf16
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec

if TYPE_CHECKING:
    import torch

Precision = Literal["no", "bf16", "fp16"]
"""Of autocast."""

PAYS = 1.5
"""So many times as fast must bfloat16 be to be taken."""
FEWEST_PARAMETERS = 20_000_000
"""Of a model that gains by it on a CPU: the matrices of smaller ones are done before they are
rounded."""
ROWS, WIDTH, REPEATS = 256, 1024, 5
"""Of the matrices that are timed: a hidden state's usual width."""


def mixed_precision(
    hardware: HardwareSpec, model: ModelSpec, device: torch.device | str, parameters: int
) -> Precision:
    """Return what the training step's autocast is in, here and for a model of this size.

    `auto` is bf16 on a GPU that has it, fp16 with loss scaling on one that has not (compute
    capability below 8), and bf16 on a CPU where that is faster, the model is no small one and
    `model.dtype` leaves the precision open.
    """
    if hardware.mixed_precision != "auto":
        return hardware.mixed_precision
    kind = device if isinstance(device, str) else device.type
    if kind == "cuda":
        return "bf16" if has_bf16("cuda") else "fp16"
    open_and_large = model.dtype == "auto" and parameters >= FEWEST_PARAMETERS
    if kind == "cpu" and open_and_large and cpu_has_bf16() and cpu_gain() >= PAYS:
        return "bf16"
    return "no"


def cpu_gain() -> float:
    """Return how many times as fast as float32 this CPU multiplies bfloat16, as first measured."""
    file = make_once(_folder(), lambda draft: _write(draft / "gain.json")) / "gain.json"
    return json.loads(file.read_text(encoding="utf-8"))["gain"]


def _folder() -> Path:
    import torch

    names = [torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.machine()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names += sorted({line for line in lines if line.startswith(("model name", "flags"))})
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return cache_folder() / "precision" / digest


def _write(file: Path) -> None:
    import torch

    seconds = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    gain = seconds[torch.float32] / seconds[torch.bfloat16]
    file.write_text(json.dumps({"gain": round(gain, 2)}), encoding="utf-8")


def _seconds(dtype: torch.dtype) -> float:
    """Return the least seconds of a product of two matrices."""
    import torch

    left = torch.ones(ROWS, WIDTH, dtype=dtype)
    right = torch.ones(WIDTH, WIDTH, dtype=dtype)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        torch.matmul(left, right)
        times.append(time.perf_counter() - began)
    return min(times)
