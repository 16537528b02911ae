"""The cost of a run: seconds by phase, tokens a second, and peak memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """Seconds, and MiB at the peak."""

    train_seconds: float
    total_seconds: float
    tokens_per_second: float | None
    """Tokens that training read or sampled, a second of training; None if they were not counted."""
    peak_memory_mib: float
    """Of the host, this process and its children."""
    cost: dict[str, float]
    """Seconds of each phase, and `gpu_memory_mib` where a GPU was used."""


@dataclass
class Clock:
    """Wall-clock seconds by phase; the total runs from when the clock was made."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def restore(self, seconds: dict[str, float], total: float) -> None:
        """Add what earlier attempts took: seconds of each phase, and in total."""
        self.seconds = dict(seconds)
        self.started -= total

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what the block takes to `seconds[name]`, also if it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def cost(self, tokens: int | None = None) -> Cost:
        """Return the cost so far; `tokens` is how many the phase "train" read or sampled."""
        train = self.seconds.get("train", 0.0)
        gpu = gpu_memory_mib()
        details = {f"{name}_seconds": seconds for name, seconds in self.seconds.items()}
        return Cost(
            train_seconds=train,
            total_seconds=time.perf_counter() - self.started,
            tokens_per_second=tokens / train if tokens is not None and train else None,
            peak_memory_mib=host_memory_mib(),
            cost=details | ({"gpu_memory_mib": gpu} if gpu else {}),
        )


def host_memory_mib() -> float:
    """Return the peak resident memory of this process, and of its living descendants, in MiB."""
    process = psutil.Process()
    total = _peak_bytes(process)
    for child in process.children(recursive=True):
        try:
            total += _peak_bytes(child)
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue  # ended since it was listed
    return total / MIB


def gpu_memory_mib() -> float:
    """Return the peak of the memory that torch allocated on all GPUs, in MiB; 0 without any."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    devices = range(torch.cuda.device_count())
    return sum(torch.cuda.max_memory_allocated(device) for device in devices) / MIB


def _peak_bytes(process: psutil.Process) -> int:
    """Return the kernel's high-water mark where it keeps one (Linux), else what is resident now.

    `getrusage` will not do: a process takes over its parent's maximum when it is started.
    """
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return process.memory_info().rss
