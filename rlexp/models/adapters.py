"""Adapters: what they belong to, how they are merged into it, and how they go on.

An adapter that goes on is no reference when it is switched off: that would be its base, with which
the training did not begin. Whoever asks such a model for itself without its adapter gets it with
the adapter of the beginning (`keep_beginning`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlexp.runtime.cache import cache_folder, make_once
from rlexp.spec.checks.adapter import is_target, last_names
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import base_of_adapter, saved_config
from rlexp.spec.model_kind import kind_of_task
from rlexp.spec.peft import LoraPeft

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
    AutoTokenizer.from_pretrained(tokenizer_folder(adapter, base)).save_pretrained(target)


def tokenizer_folder(adapter: Path, base: Path) -> Path:
    """Return where the tokenizer is: an adapter's folder may have one, or leave it to the base."""
    return adapter if (adapter / "tokenizer_config.json").is_file() else base


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
    config = saved_config(adapter)
    return base_of_adapter(adapter, config), config.get("revision")


def continued(model: Any, adapter: Path, peft: LoraPeft) -> Any:
    """Return a PEFT model that goes on with an adapter; its reference is itself as it is now.

    Args:
        model: the adapter's own base, on its device.
        adapter: a PEFT folder.
        peft: its `dropout` counts from now on; the rest must be the adapter's.

    Raises:
        UserError: layers that `peft.target_modules` means, and that have no adapter.
    """
    from peft import LoraConfig, PeftModel

    _check_targets(model, adapter, peft)
    config = LoraConfig.from_pretrained(str(adapter))
    assert isinstance(config, LoraConfig)  # the check of the config has seen that it is one
    config.inference_mode = False
    config.lora_dropout = peft.dropout
    model = PeftModel.from_pretrained(model, str(adapter), is_trainable=True, config=config)
    keep_beginning(model)
    return model


def keep_beginning(model: Any) -> None:
    """Let a PEFT model's `disable_adapter` show the adapter as it is now, and not none.

    That is where TRL's trainers and `Policy.reference` find the reference; only the adapter is kept
    twice.
    """
    beginning = {
        name: weight.detach().clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }

    @contextmanager
    def as_it_began() -> Iterator[None]:
        weights = {name: w for name, w in model.named_parameters() if name in beginning}
        trained = {name: weight.data for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.data = beginning[name].to(weight.data)
        try:
            yield
        finally:
            for name, weight in weights.items():
                weight.data = trained[name]

    model.disable_adapter = as_it_began


def _check_targets(model: Any, adapter: Path, peft: LoraPeft) -> None:
    from torch.nn import Linear

    own, asked = saved_config(adapter)["target_modules"], peft.target_modules
    if isinstance(own, str) or (isinstance(asked, str) and asked != "all-linear"):
        return  # a pattern, which the check of the config has compared
    body = f"{model.base_model_prefix}."
    linear = [name for name, module in model.named_modules() if isinstance(module, Linear)]
    bare = [
        name.rpartition(".")[2]
        for name in linear
        if name.startswith(body) and not is_target(name, own)
        if asked == "all-linear" or is_target(name, asked)
    ]
    if bare:
        got = f"{asked}, while the adapter in {adapter} has none on {', '.join(sorted({*bare}))}"
        words = f"[{','.join(last_names(own))}]"
        remedy = f"Set peft.target_modules={words}, or peft.start=new."
        raise UserError(Problem("peft.target_modules", got, words, remedy))
