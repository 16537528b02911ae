"""Whether this machine can do what is asked of it."""

from __future__ import annotations

import importlib.util

from rlexp.spec.errors import Problem, Problems
from rlexp.spec.files.devices import cuda_capabilities, has_bf16, likely_device
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.train import TrainSpec


def batch_divides(train: TrainSpec, hardware: HardwareSpec) -> Problems:
    share, rest = divmod(train.batch_size, hardware.processes)
    if rest:
        want = f"a multiple of hardware.processes ({hardware.processes})"
        near = max(1, round(train.batch_size / hardware.processes)) * hardware.processes
        return [Problem("train.batch_size", str(train.batch_size), want, f"{near} is the nearest.")]
    micro = train.micro_batch_size
    if micro and share % micro:
        divisors = [n for n in range(1, share + 1) if share % n == 0]
        near = min(divisors, key=lambda n: abs(n - micro))
        want = f"a divisor of the {share} sequences of a process (train.batch_size / processes)"
        return [Problem("train.micro_batch_size", str(micro), want, f"{near} is the nearest.")]
    return []


def device_exists(hardware: HardwareSpec) -> Problems:
    if hardware.device == "cuda" and not cuda_capabilities():
        got = "cuda, but this machine shows no NVIDIA GPU"
        return [
            Problem("hardware.device", got, "a device that is here", "Set hardware.device=auto.")
        ]
    many = hardware.processes > len(cuda_capabilities())
    if hardware.device == "cuda" and many:
        got, want = str(hardware.processes), f"at most {len(cuda_capabilities())}, one a GPU"
        return [Problem("hardware.processes", got, want)]
    return []


def precision_exists(hardware: HardwareSpec, model: ModelSpec) -> Problems:
    device = likely_device(hardware.device)
    if hardware.mixed_precision == "fp16" and (device != "cuda" or model.dtype == "bfloat16"):
        key, want = "hardware.mixed_precision", "fp16 on an NVIDIA GPU alone, with float32 weights"
        instead = "bf16" if has_bf16(device) else "no"
        return [Problem(key, f"fp16 on {device}", want, f"Set {key}={instead}.")]
    if has_bf16(device):
        return []
    precisions = {
        "hardware.mixed_precision": (hardware.mixed_precision, "bf16", "no"),
        "model.dtype": (model.dtype, "bfloat16", "float32"),
    }
    return [
        Problem(key, value, f"a precision that {device} has here", f"Set {key}={instead}.")
        for key, (value, refused, instead) in precisions.items()
        if value == refused
    ]


def flash_attention_is_there(model: ModelSpec, hardware: HardwareSpec) -> Problems:
    if model.attention != "flash_attention_2":
        return []
    if importlib.util.find_spec("flash_attn") and likely_device(hardware.device) == "cuda":
        return []
    want = "the package flash-attn and an NVIDIA GPU"
    return [Problem("model.attention", "flash_attention_2", want, "Set model.attention=sdpa.")]
