"""A checkpoint from which a training goes on as if it had never stopped, without a pickle.

`model.safetensors` or the adapter, written by transformers or PEFT, with the tokenizer: a folder
to load anywhere. Beside it `optimizer.safetensors`, `random-0.safetensors` (one for each process),
`critic.safetensors`, and the plain numbers in `training.json`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def save_optimizer(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the tensors of an optimizer's state dict; the rest of it, for JSON, is returned."""
    tensors = {
        f"{parameter}.{name}": value
        for parameter, values in state["state"].items()
        for name, value in values.items()
    }
    save_tensors(tensors, folder / "optimizer.safetensors")
    return {"param_groups": state["param_groups"]}


def load_optimizer(optimizer: torch.optim.Optimizer, folder: Path, rest: dict[str, Any]) -> None:
    """Undo `save_optimizer` in an optimizer of the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = value
    groups = [{**group, "betas": tuple(group["betas"])} for group in rest["param_groups"]]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save_random_state(folder: Path, process: int) -> None:
    """Write the state of Python's, numpy's and torch's random numbers in this process."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    plain = {
        "python": [version, list(numbers), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],  # pyright: ignore
    }
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    save_tensors(tensors, folder / f"random-{process}.safetensors", {"plain": json.dumps(plain)})


def has_random_state(folder: Path, process: int) -> bool:
    """Return whether this process wrote its state; not so where fewer processes were at work."""
    return (folder / f"random-{process}.safetensors").is_file()


def load_random_state(folder: Path, process: int) -> None:
    """Undo `save_random_state`."""
    from safetensors import safe_open

    with safe_open(folder / f"random-{process}.safetensors", framework="pt") as file:
        plain = json.loads(file.metadata()["plain"])
        torch.set_rng_state(file.get_tensor("torch"))
        if "cuda" in file.keys() and torch.cuda.is_available():  # noqa: SIM118
            torch.cuda.set_rng_state(file.get_tensor("cuda"))
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = plain["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))


def restore_policy(model: Any, folder: Path) -> None:
    """Put the weights that `model.save_pretrained(folder)` wrote back into the model."""
    if hasattr(model, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
        return
    saved = type(model).from_pretrained(folder, dtype=model.dtype, use_safetensors=True)
    model.load_state_dict(saved.state_dict())


def save_tensors(
    tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors of any device and layout."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(plain, file, metadata)
