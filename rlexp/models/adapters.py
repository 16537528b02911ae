"""Adapters: what they belong to, and how they are merged into it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rlexp.runtime.cache import cache_folder, make_once
from rlexp.spec.model_kind import kind_of_task

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"


def merge(adapter: Path, base: Path, target: Path) -> None:
    """Write the base's weights with the adapter's update in them, beside the adapter's tokenizer.

    The sum is made in float32, then rounded to the base's own precision.

    Args:
        adapter: a PEFT folder.
        base: folder of the weights that it belongs to, unquantised.
        target: where the plain transformers folder goes.
    """
    from peft import PeftModel
    from transformers import AutoTokenizer

    config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    weights, _ = kind_of_task(config["task_type"]).load(base, dtype="auto")
    dtype = weights.dtype
    merged = PeftModel.from_pretrained(weights.float(), str(adapter)).merge_and_unload()
    merged.to(dtype).save_pretrained(target)
    has_tokenizer = (adapter / "tokenizer_config.json").is_file()
    AutoTokenizer.from_pretrained(adapter if has_tokenizer else base).save_pretrained(target)


def merged_weights(adapter: Path, base: Path) -> Path:
    """The folder with an adapter's merged weights, made in the cache if it is not there."""
    contents = [(adapter / name).read_bytes() for name in (ADAPTER_CONFIG, ADAPTER)]
    files = [(str(file), file.stat()) for file in sorted(base.resolve().glob("*.safetensors"))]
    states = [(name, state.st_size, state.st_mtime_ns) for name, state in files]
    digest = hashlib.sha256(b"\n".join([*contents, repr(states).encode()])).hexdigest()[:16]
    target = cache_folder() / "merged" / digest
    return make_once(target, lambda draft: merge(adapter, base, draft))


BASE = "base"
"""Subfolder of a promoted adapter with its base, where the hub does not have that."""


def base_of(adapter: Path) -> tuple[str, str | None]:
    """Folder or hub id of the weights that an adapter belongs to, and the hub's revision."""
    config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return config["base_model_name_or_path"], config.get("revision")
