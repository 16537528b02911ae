"""Folders of models written by hand, which are looked at and never loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

LAYERS, HIDDEN, VOCABULARY = 3, 4, 8
QWEN2 = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "num_hidden_layers": LAYERS,
    "hidden_size": HIDDEN,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}


def qwen2_tensors() -> dict[str, np.ndarray]:
    """Return what a Qwen2 holds, as far as its names go: 5 tensors outside of and in each layer."""
    square = np.zeros((HIDDEN, HIDDEN), np.float32)
    table = np.zeros((VOCABULARY, HIDDEN), np.float32)
    outside = {"model.embed_tokens.weight": table, "lm_head.weight": table.copy()}
    inside = {
        f"model.layers.{layer}.{name}": square.copy()
        for layer in range(LAYERS)
        for name in ("self_attn.q_proj.weight", "mlp.up_proj.weight")
    }
    return {**outside, "model.norm.weight": np.zeros(HIDDEN, np.float32), **inside}


def write_model(folder: Path, tensors: dict[str, np.ndarray] | None = None, **config: Any) -> Path:
    """Write a folder with one file of weights; None stands for those of a whole Qwen2."""
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps({**QWEN2, **config})
    (folder / "config.json").write_text(written, encoding="utf-8")
    save_file(qwen2_tensors() if tensors is None else tensors, folder / "model.safetensors")
    return folder


def write_shards(folder: Path) -> Path:
    """Write the same in two shards with an index."""
    write_model(folder)
    (folder / "model.safetensors").unlink()
    places: dict[str, str] = {}
    tensors = qwen2_tensors()
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        part = dict(list(tensors.items())[number - 1 :: 2])
        save_file(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = json.dumps({"metadata": {}, "weight_map": places})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    return folder
