"""What a run leaves behind: a plain transformers or PEFT folder, safetensors only.

An adapter is saved as it is, or merged: its update added to the weights that it was trained on. To
begin a run from an adapter, or from a checkpoint that is one, it is merged too, once, in the cache:
whoever loads weights again, such as TRL for its reference model, finds the trained ones.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from rlexp.models.locate import ADAPTER_CONFIG
from rlexp.models.policy import Policy
from rlexp.models.tokenizer import PLAIN
from rlexp.runtime.cache import cache_folder, made_once

ADAPTER = "adapter_model.safetensors"


def save_policy(policy: Policy, folder: Path, *, merged: bool) -> None:
    """Write the model and its tokenizer.

    Args:
        policy: after training.
        folder: is made.
        merged: whether an adapter goes into the weights; without one there is no difference.
    """
    if merged and hasattr(policy.model, "peft_config"):
        with tempfile.TemporaryDirectory(prefix=".adapter-", dir=folder.parent) as place:
            _save(policy, Path(place))
            merge(Path(place), policy.folder, folder)
    else:
        _save(policy, folder)


def _save(policy: Policy, folder: Path) -> None:
    policy.model.save_pretrained(folder)
    tokenizer = policy.tokenizer
    template = tokenizer.chat_template
    if template == PLAIN and not policy.chat and policy.model.can_generate():
        tokenizer.chat_template = None  # lent to a model that knows no chat: it would pass for one
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = template


def name_base(policy: Policy) -> None:
    """Let the adapter call its base by its id on the hub, which means the same on each machine."""
    if not hasattr(policy.model, "peft_config") or Path(policy.spec.path).expanduser().exists():
        return
    if ":" in policy.spec.path:  # of this project, or of the registry: the folder is all there is
        return
    for config in policy.model.peft_config.values():
        config.base_model_name_or_path = policy.spec.path
        config.revision = policy.spec.revision


def merge(adapter: Path, base: Path, target: Path) -> None:
    """Write the base's weights with the adapter's update in them, beside the adapter's tokenizer.

    The sum is made in float32, then rounded to the base's own precision.

    Args:
        adapter: a PEFT folder.
        base: folder of the weights that it belongs to, unquantised.
        target: where the plain transformers folder goes.
    """
    from peft import PeftModel
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    task = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))["task_type"]
    kind: Any = AutoModelForCausalLM
    head = {}
    if task == "SEQ_CLS":
        kind, head = AutoModelForSequenceClassification, {"num_labels": 1}
    weights = kind.from_pretrained(base, dtype="auto", use_safetensors=True, **head)
    dtype = weights.dtype
    whole = PeftModel.from_pretrained(weights.float(), str(adapter)).merge_and_unload()
    whole.to(dtype).save_pretrained(target)
    has_tokenizer = (adapter / "tokenizer_config.json").is_file()
    AutoTokenizer.from_pretrained(adapter if has_tokenizer else base).save_pretrained(target)


def whole_weights(adapter: Path, base: Path) -> Path:
    """The folder with an adapter's merged weights, made in the cache if it is not there."""
    told = [(adapter / name).read_bytes() for name in (ADAPTER_CONFIG, ADAPTER)]
    files = [(str(file), file.stat()) for file in sorted(base.resolve().glob("*.safetensors"))]
    states = [(name, state.st_size, state.st_mtime_ns) for name, state in files]
    digest = hashlib.sha256(b"\n".join([*told, repr(states).encode()])).hexdigest()[:16]
    target = cache_folder() / "merged" / digest
    return made_once(target, lambda draft: merge(adapter, base, draft))
