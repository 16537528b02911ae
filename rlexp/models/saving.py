"""What a run leaves behind: a plain transformers or PEFT folder, safetensors only.

An adapter is saved as it is, or merged: its update added to the weights that it was trained on. To
begin a run from an adapter, or from a checkpoint that is one, it is merged too, once, in the cache:
whoever loads weights again, such as TRL for its reference model, finds the trained ones.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rlexp.models.adapters import merge
from rlexp.models.policy import Policy
from rlexp.models.tokenizer import PLAIN


def save_policy(policy: Policy, folder: Path, *, merged: bool, write: bool = True) -> None:
    """Write the model and its tokenizer. All processes of a run call it, and one of them writes.

    Where a model is sharded, its whole state dict is gathered from all processes, so that one which
    stays away would keep the others waiting for ever.

    Args:
        policy: after training.
        folder: is made.
        merged: whether an adapter goes into the weights; without one there is no difference.
        write: whether this process is the one that writes.
    """
    if merged and hasattr(policy.model, "peft_config"):
        # PEFT makes its folder in every process, also in those that write nothing into it.
        near = folder.parent if write else None
        with tempfile.TemporaryDirectory(prefix=".adapter-", dir=near) as adapter:
            policy.model.save_pretrained(adapter, is_main_process=write)
            if write:
                _save_tokenizer(policy, Path(adapter))
                merge(Path(adapter), policy.folder, folder)  # of files: nothing is collective here
    else:
        policy.model.save_pretrained(folder, is_main_process=write)
        if write:
            _save_tokenizer(policy, folder)


def _save_tokenizer(policy: Policy, folder: Path) -> None:
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
    if policy.continues:  # the model's path is the adapter's, which knows its base
        return
    if ":" in policy.spec.path:  # of this project, or of the registry: the folder is all there is
        return
    for config in policy.model.peft_config.values():
        config.base_model_name_or_path = policy.spec.path
        config.revision = policy.spec.revision
