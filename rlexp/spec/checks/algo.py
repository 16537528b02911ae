"""Whether the algorithm can be run as its knobs say."""

from __future__ import annotations

import importlib.util

from rlexp.spec.algo import AlgoSpec, RolloutAlgo
from rlexp.spec.errors import Problem, Problems
from rlexp.spec.files.devices import likely_device
from rlexp.spec.hardware import HardwareSpec
from rlexp.spec.model import ModelSpec
from rlexp.spec.peft import PeftSpec
from rlexp.spec.train import TrainSpec


def algo_fits(algo: AlgoSpec, train: TrainSpec, hardware: HardwareSpec) -> Problems:
    return algo.fits(train, hardware)


def algo_fits_model(algo: AlgoSpec, model: ModelSpec) -> Problems:
    return algo.fits_model(model)


def vllm_is_there(algo: AlgoSpec, hardware: HardwareSpec) -> Problems:
    if not isinstance(algo, RolloutAlgo) or algo.rollout != "vllm":
        return []
    key, problems = "algo.rollout", []
    if importlib.util.find_spec("vllm") is None:
        remedy = (
            "In an environment of its own, for it wants an older transformers: "
            "pip install 'rlexp[vllm]'. Or set algo.rollout=fast."
        )
        problems.append(Problem(key, "vllm, which is not installed", "the extra `vllm`", remedy))
    if likely_device(hardware.device) != "cuda":
        remedy = "Set algo.rollout=fast, or run on a machine with an NVIDIA GPU."
        problems.append(Problem(key, "vllm without an NVIDIA GPU", "hardware=gpu", remedy))
    size = algo.vllm.tensor_parallel_size
    if algo.vllm.mode == "colocate" and hardware.processes % size:
        want = f"a divisor of hardware.processes ({hardware.processes})"
        problems.append(Problem("algo.vllm.tensor_parallel_size", str(size), want))
    return problems


def adapter_is_trained(algo: AlgoSpec, peft: PeftSpec) -> Problems:
    """Where the head's bare weight is read, an adapter on it would never be trained."""
    modules = getattr(peft, "target_modules", None)
    if algo.adapts_head or modules is None or "lm_head" not in modules:
        return []
    want = f"modules without lm_head, whose bare weight algo={algo.name} reads"
    remedy = "Set peft.target_modules=all-linear."
    return [Problem("peft.target_modules", str(modules), want, remedy)]


def reference_can_follow(algo: AlgoSpec, peft: PeftSpec) -> Problems:
    """`sync_reference` moves a reference that is held in memory; not every run has one."""
    key, want = "algo.sync_reference", "a reference in memory that can follow the policy"
    every = getattr(algo, "sync_reference", None)
    if every is None:
        return []
    if getattr(algo, "beta", None) == 0:
        got, remedy = f"{every} with algo.beta=0, which loads no reference", "algo.beta=0.05"
    elif peft.kind in ("lora", "dora", "qlora"):
        got = f"{every} with peft={peft.kind}, whose reference is the model without its adapter"
        remedy = "peft=none"
    elif algo.trl.get("precompute_ref_log_probs"):
        got, remedy = f"{every} with algo.trl.precompute_ref_log_probs=true", ""
    else:
        return []
    remedy = f"Set {remedy}, or {key}=null." if remedy else f"Set {key}=null."
    return [Problem(key, got, want, remedy)]
