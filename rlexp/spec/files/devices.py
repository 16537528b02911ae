"""Which accelerators this machine has, found out without importing torch."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda", "mps"]


@cache
def cuda_capabilities() -> tuple[tuple[int, int], ...]:
    """Compute capability of each visible NVIDIA GPU, from the driver's own library."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return ()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()  # no driver, hence no GPU that could be used
    count = pynvml.nvmlDeviceGetCount()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    capabilities: list[tuple[int, int]] = []
    for handle in handles:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        capabilities.append((major, minor))
    if visible is not None:
        chosen = [part.strip() for part in visible.split(",")]
        if all(part.isdigit() for part in chosen):
            numbers = [int(part) for part in chosen if int(part) < count]
            capabilities = [capabilities[number] for number in numbers]
    return tuple(capabilities)


def likely_device(requested: str) -> Device:
    """The device that `hardware.device` will mean here, as far as torch allows later."""
    if requested in ("cpu", "cuda", "mps"):
        return requested  # pyright: ignore[reportReturnType]
    if cuda_capabilities():
        return "cuda"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself, rather than through slow emulation."""
    if sys.platform == "darwin":
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def has_bf16(device: str) -> bool:
    """Whether a device computes in bfloat16 (NVIDIA: since compute capability 8.0, Ampere)."""
    if device == "cuda":
        return bool(cuda_capabilities()) and min(cuda_capabilities()) >= (8, 0)
    if device == "mps":
        return True
    return cpu_has_bf16()
