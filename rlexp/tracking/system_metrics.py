"""Metrics of the machine, under MLflow's own names for system metrics."""

from __future__ import annotations

import os
from typing import Any

_MEGABYTE = 1e6


class SystemMetrics:
    """Utilisation of CPU, memory and NVIDIA GPUs. One sample costs well under a millisecond.

    Make it in the thread that samples: psutil measures the CPU from the same thread's last call.
    """

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process(os.getpid())
        self._gpus = _gpu_handles()
        psutil.cpu_percent()  # the first call only starts the measurement

    def sample(self) -> dict[str, float]:
        """Return percentages and megabytes since the last sample, by name."""
        memory = self._psutil.virtual_memory()
        metrics = {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }
        for index, handle in enumerate(self._gpus):
            metrics |= _gpu_sample(index, handle)
        return metrics


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver shows."""
    import pynvml

    return [str(pynvml.nvmlDeviceGetName(handle)) for handle in _gpu_handles()]


def _gpu_handles() -> list[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []  # no driver, hence no GPU to watch
    return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]


def _gpu_sample(index: int, handle: Any) -> dict[str, float]:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    used, total = float(memory.used), float(memory.total)
    metrics = {
        f"system/gpu_{index}_memory_usage_megabytes": used / _MEGABYTE,
        f"system/gpu_{index}_memory_usage_percentage": 100 * used / total,
    }
    try:
        rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
        metrics[f"system/gpu_{index}_utilization_percentage"] = float(rates.gpu)
        milliwatts = pynvml.nvmlDeviceGetPowerUsage(handle)
        metrics[f"system/gpu_{index}_power_usage_watts"] = milliwatts / 1000
    except pynvml.NVMLError as error:
        # Slices of a GPU (MIG) report their memory only.
        if error.args[0] != pynvml.NVML_ERROR_NOT_SUPPORTED:
            raise
    return metrics
