"""The settings that a config left open, as they turned out: by their keys, for another run.

`auto` and null ask the machine. Another machine answers otherwise, and then the numbers differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlexp.spec.run import RunSpec
from rlexp.tracking.provenance.manifest import describe_weights

if TYPE_CHECKING:
    from rlexp.models.policy import Policy


def resolved_settings(spec: RunSpec, policy: Policy) -> dict[str, Any]:
    """Return facts for the manifest: settings by config key, torch as it was built, the weights."""
    import torch

    device = policy.model.device
    settings: dict[str, str | int] = {
        "hardware.device": device.type,
        "hardware.threads": torch.get_num_threads(),
        "hardware.mixed_precision": policy.precision,
    }
    if spec.model.dtype == "auto" and spec.peft.kind != "qlora":
        settings["model.dtype"] = str(policy.model.dtype).removeprefix("torch.")
    if spec.peft.kind == "auto":
        settings["peft.kind"] = "none" if policy.adapter is None else "lora"
    files = describe_weights(policy.continues or policy.folder)
    if files["commit"]:
        settings["model.revision"] = files["commit"]
    backends = torch.backends
    built: dict[str, Any] = {"cpu kernels": backends.cpu.get_cpu_capability()}
    built["MKL"] = backends.mkl.is_available()
    if device.type == "cuda":
        built |= {"CUDA": torch.version.cuda, "cuDNN": backends.cudnn.version()}
        built["GPU"] = torch.cuda.get_device_name(device)
    weights = {"policy": files}
    if policy.continues:
        weights["base"] = describe_weights(policy.folder)
    return {"resolved": settings, "torch": built, "weights": weights}
