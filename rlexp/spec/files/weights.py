"""Whether the weights in a folder are whole, seen from index, headers and config alone.

What an architecture is made of only its code can tell, and that is asked once it is loaded
(`rlexp.spec.files.loading`). Before that is seen: files that are not there, cut off or of another
format; tensors that the index promises; layers that lack what all the others have, in families
whose layers are alike; embeddings of another size than the config's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem
from rlexp.spec.files.safetensors_header import (
    AGAIN,
    BrokenFile,
    StoredTensor,
    stored_tensors,
)
from rlexp.spec.files.text_config import text_config

WHOLE, INDEX, ADAPTER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
)
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf")
NAMED = 4
"""Tensors named in a message; of more the number is told."""

ALIKE = frozenset(
    {
        "bloom", "codegen", "cohere", "gemma", "gemma2", "glm", "gpt2", "gpt_bigcode", "gpt_neo",
        "gpt_neox", "gptj", "granite", "helium", "llama", "mistral", "nemotron", "olmo", "olmo2",
        "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm",
        "starcoder2",
    }
)  # fmt: skip
"""Families whose layers all have the same tensors, and whose embeddings are as the config says."""
LAYER = re.compile(r"(?P<layer>(?:.*\.)?(?:layers|h)\.(?P<number>\d+))\.(?P<rest>.+)")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
WRITERS = ("ForCausalLM", "LMHeadModel")
HEADS = ("lm_head.weight", "embed_out.weight")
BUFFER = re.compile(r".*inv_freq|.*masked_bias|(.*\.)?(attn|attention)\.bias")
"""Names of what older versions saved beside the weights, and nobody reads."""
FLOATS = ("F64", "F32", "F16", "BF16")

Tensors = Mapping[str, StoredTensor]


def weight_problems(folder: Path, config: Mapping[str, Any], key: str) -> list[Problem]:
    """Return all that is wrong with the weights in a folder; nothing is loaded.

    Args:
        folder: of a whole model, or of an adapter.
        config: the model's `config.json`; empty for an adapter.
        key: that names the model.
    """
    problems: list[Problem] = []
    tensors = _read(folder, key, problems)
    if problems or not tensors or not config:
        return problems
    return [
        *_type_problems(folder, tensors, config, key),
        *_layer_problems(folder, tensors, config, key),
    ]


def named(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _read(folder: Path, key: str, problems: list[Problem]) -> dict[str, StoredTensor]:
    """Return the tensors that transformers would load; what is wrong is added to the problems."""
    single = next((folder / name for name in (ADAPTER, WHOLE) if (folder / name).is_file()), None)
    if single:
        return _tensors_in(single, key, problems)
    if (folder / INDEX).is_file():
        return _sharded(folder, key, problems)
    shards = sorted(file.name for file in folder.glob("*.safetensors"))
    if shards:
        got = f"{folder}: {named(shards)} without {INDEX}"
        problems.append(Problem(key, got, f"{WHOLE}, or shards with their index", AGAIN))
        return {}
    pickled = sorted(file.name for pattern in PICKLED for file in folder.glob(pattern))
    has = f" (it has {named(pickled)})" if pickled else ""
    remedy = "Save it again with save_pretrained: pickled weights can run code when loaded."
    got = f"{folder}, without weights in safetensors{has}"
    problems.append(Problem(key, got, "safetensors", remedy))
    return {}


def _tensors_in(file: Path, key: str, problems: list[Problem]) -> dict[str, StoredTensor]:
    try:
        return stored_tensors(file)
    except BrokenFile as broken:
        problems.append(Problem(key, f"{file}: {broken.what}", "whole weights", broken.remedy))
        return {}


def _sharded(folder: Path, key: str, problems: list[Problem]) -> dict[str, StoredTensor]:
    """Return the tensors of all shards that the index names."""
    try:
        places = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        got = f"{folder / INDEX}, which cannot be read ({type(error).__name__}: {error})"
        problems.append(Problem(key, got, "an index with a weight_map", AGAIN))
        return {}
    absent = [name for name in files if not (folder / name).is_file()]
    if absent:
        got = f"{folder}, without {named(absent)} of {len(files)} shards"
        want = f"the files that {INDEX} names"
        problems.append(Problem(key, got, want, "Copy or download them too."))
    tensors: dict[str, StoredTensor] = {}
    for name in files:
        if name in absent:
            continue
        before = len(problems)
        shard = _tensors_in(folder / name, key, problems)
        promised = [tensor for tensor, file in places.items() if file == name]
        lacking = [tensor for tensor in promised if tensor not in shard]
        if lacking and len(problems) == before:
            got = f"{folder / name}, without {named(lacking)}"
            problems.append(Problem(key, got, f"the tensors that {INDEX} names", AGAIN))
        tensors |= shard
    return tensors


def _type_problems(
    folder: Path, tensors: Tensors, config: Mapping[str, Any], key: str
) -> list[Problem]:
    """Return a problem where matrices are no floating-point numbers, and nothing says what else."""
    if config.get("quantization_config"):
        return []
    odd = {
        name: tensor.dtype
        for name, tensor in tensors.items()
        if tensor.dtype not in FLOATS and len(tensor.shape) > 1 and not BUFFER.fullmatch(name)
    }
    if not odd:
        return []
    got = f"{folder}: {named(list(odd))} of type {', '.join(sorted(set(odd.values())))}"
    remedy = (
        "Give the weights before they were quantised, of which qlora makes four bits: "
        "model.path=FOLDER"
    )
    return [Problem(key, got, f"weights of type {', '.join(FLOATS)}", remedy)]


def _layer_problems(
    folder: Path, tensors: Tensors, config: Mapping[str, Any], key: str
) -> list[Problem]:
    """Return what a family of like layers lacks, and embeddings of another size."""
    text = text_config(config)
    if text.get("model_type") not in ALIKE or config.get("quantization_config"):
        return []
    problems: list[Problem] = []
    missing = [*_missing_in_layers(tensors, text), *_missing_outside(tensors, text)]
    if missing:
        got = f"{folder}, without {named(missing)}"
        want = f"all {len(tensors) + len(missing)} tensors: what is missing would begin at random"
        problems.append(Problem(key, got, want, AGAIN))
    sizes = (text.get("vocab_size"), _first(text, ("word_embed_proj_dim", "hidden_size", "n_embd")))
    for name in _ending(tensors, EMBEDDINGS):
        if None not in sizes and tensors[name].shape != sizes:
            got = f"{folder}: {name} of {list(tensors[name].shape)}"
            want = f"{list(sizes)}: vocab_size and hidden_size of config.json"
            remedy = "Put the config.json beside it that it was saved with."
            problems.append(Problem(key, got, want, remedy))
    return problems


def _missing_in_layers(tensors: Tensors, config: Mapping[str, Any]) -> list[str]:
    matches = [match for name in tensors if (match := LAYER.fullmatch(name))]
    layers: dict[int, set[str]] = {}
    for match in matches:
        if not BUFFER.fullmatch(match["rest"]):
            layers.setdefault(int(match["number"]), set()).add(match["rest"])
    count = _first(config, ("num_hidden_layers", "n_layer", "num_layers"))
    if not layers or not isinstance(count, int):
        return []
    prefix = matches[0]["layer"].rpartition(".")[0]
    usual = sorted(set().union(*layers.values()))
    return [
        f"{prefix}.{number}.{rest}"
        for number in range(count)
        for rest in usual
        if rest not in layers.get(number, ())
    ]


def _missing_outside(tensors: Tensors, config: Mapping[str, Any]) -> list[str]:
    missing = [] if _ending(tensors, EMBEDDINGS) else ["the embeddings (embed_tokens.weight)"]
    writes = any(name.endswith(WRITERS) for name in config.get("architectures") or [])
    if writes and config.get("tie_word_embeddings") is False and not _ending(tensors, HEADS):
        missing.append("lm_head.weight")
    return missing


def _ending(names: Iterable[str], ends: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.endswith(ends)]


def _first(config: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((config[key] for key in keys if config.get(key) is not None), None)
