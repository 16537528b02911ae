"""The machine as torch sees it: device, cores, seeds, and this process's place among others."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.devices import likely_device
from rlexp.spec.hardware import HardwareSpec

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's <malloc.h>."""


def available_cores() -> int:
    """Return the number of cores that the process is allowed to run on; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_index() -> int:
    """Return this process's rank; 0 when it is the only one."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Return whether this process evaluates, tracks and prints."""
    return process_index() == 0


def prepare(hardware: HardwareSpec, seed: int) -> torch.device:
    """Choose the device, share out the threads, seed everything; return the torch device.

    Raises:
        UserError: a device that this torch cannot use.
    """
    import torch
    from transformers import set_seed
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for each file that is loaded in a blink
    threads = hardware.threads or max(1, (os.cpu_count() or 1) // hardware.processes)
    torch.set_num_threads(threads)
    set_seed(seed)
    device = torch.device(_usable_device(hardware.device))
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next allocation, where this process runs on glibc.

    Tensors of some megabytes come and go thousands of times a second in a training on the CPU. By
    default glibc hands such pieces back to the system, which must clear each page again before it
    is next used: a good part of the time of a small model's step. Blocks above 32 MiB, the most
    that glibc lets be kept, still go back.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def _usable_device(requested: str) -> str:
    import torch

    usable: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    device = likely_device(requested)
    if usable[device]():
        return device
    got = f"{device}, which torch {torch.__version__} cannot use here"
    want = "a device that torch can use"
    remedy = (
        "Install a torch built for it, or set hardware=cpu; `python -m rlexp doctor` tells more."
    )
    raise UserError(Problem("hardware.device", got, want, remedy))
