"""How much memory a training needs, from the config alone, and how much there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

OVERHEAD = 1.25
"""Activations and allocator slack of small micro-batches, relative to weights and optimizer."""


def parameter_count(folder: Path, trust_remote_code: bool) -> int:
    """Parameters of the model in `folder`, counted on the meta device: nothing is loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    return sum(parameter.numel() for parameter in model.parameters())


def full_training_bytes(parameters: int) -> int:
    """Memory of training all weights in float32: weight, gradient, two Adam moments, reference."""
    return int(parameters * 4 * 5 * OVERHEAD)


def available_bytes(device: torch.device) -> int:
    """Memory that is free on a torch device; for the CPU also within a container's limit."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free
