"""Where a run computes, and how much of it at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlexp.spec.part import Part


class HardwareSpec(Part):
    """Devices and processes of one run."""

    name: str
    """What cards and tables call it."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """`auto` takes CUDA, then MPS (Apple), then the CPU."""
    processes: int = Field(gt=0)
    """Data-parallel processes on this machine; rlexp starts them itself."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"]
    """Autocast of the training step, while weights, losses and optimizer keep `model.dtype`; on a
    CPU of the rollouts, too. `auto` takes bf16 on a GPU that has it and fp16, whose losses are
    scaled, on an older one; on a CPU bf16 where that was measured to be faster, for a model of 20
    million parameters or more whose `model.dtype` is auto."""
    threads: int | None = Field(gt=0)
    """CPU threads a process; null shares the cores among the processes."""
