"""What a program may use up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one program; all of them are hard."""

    cpu_seconds: int
    """Processor time of each of its processes, in seconds."""
    wall_seconds: float
    """Time from its start to its last answer, in seconds."""
    memory_mib: int
    """Address space of each of its processes, in MiB."""
    disk_mib: int
    """All that it writes into its temporary folder, in MiB; it is kept in memory."""
    output_kib: int
    """What it prints, and each value that it gives back, in KiB."""
    processes: int
    """Processes and threads that it may have at once, itself included."""
    open_files: int
    """Files that each of its processes may hold open."""
