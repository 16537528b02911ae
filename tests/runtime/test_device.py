"""What rlexp asks of the machine."""

from __future__ import annotations

import ctypes
import platform
import resource

import pytest
import torch

from rlexp.runtime.device import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory

MEBIBYTES = 100


def faults_of_a_step() -> int:
    """Pages that the system had to clear for a hundred mebibytes that came and went."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(2**18) for _ in range(MEBIBYTES)]
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_freed_memory_is_used_again() -> None:
    """Constants of mallopt that are mistaken, or a call that changes nothing."""
    libc = ctypes.CDLL(None)
    for what in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        libc.mallopt(what, 128 << 10)  # what glibc begins with
    pages = MEBIBYTES * 2**20 // resource.getpagesize()
    assert faults_of_a_step() > pages / 2
    keep_freed_memory()
    faults_of_a_step()
    assert faults_of_a_step() < pages / 10
