"""Another model beside the policy that must read its tokens: a teacher, a critic."""

from __future__ import annotations

from pathlib import Path

from rlexp.spec.errors import Problem
from rlexp.spec.files.model_folder import is_adapter, saved_config, saved_path, vocabulary
from rlexp.spec.files.weights import weight_problems
from rlexp.spec.model import ModelSpec

Vocabulary = dict[str, int]


def local_model_folder(path: str, key: str) -> Path | None:
    """The companion's folder, where it is on this machine already.

    Raises:
        UserError: a folder that is not there, or that holds no model.
    """
    folder = Path(saved_path(path, key))
    return folder if folder.is_dir() else None


def policy_vocabulary(model: ModelSpec) -> Vocabulary | None:
    """The policy's pieces, as far as its tokenizer is in a local folder."""
    folder = Path(model.tokenizer or model.path).expanduser()
    return vocabulary(folder) if folder.is_dir() else None


def auxiliary_model_problems(
    folder: Path, key: str, architectures: tuple[str, ...], want: str
) -> list[Problem]:
    """What keeps a model from standing beside the policy; its weights are not read.

    Args:
        folder: the model's.
        key: that names it.
        architectures: parts of the class names that will do.
        want: these in words.
    """
    if is_adapter(folder):
        remedy = "Merge it into its base with PEFT's merge_and_unload, and save that."
        return [Problem(key, f"{folder}, an adapter", f"{want}, whole", remedy)]
    config = saved_config(folder)
    names = config.get("architectures") or ["model of unknown architecture"]
    known = all(any(kind in name for kind in architectures) for name in names)
    if known and not config.get("is_encoder_decoder"):
        return weight_problems(folder, config, key)
    return [Problem(key, f"{folder}, a {', '.join(names)}", want)]


def vocabulary_problems(
    folder: Path, key: str, policy: Vocabulary | None, remedy: str
) -> list[Problem]:
    """A problem where a companion's tokens are not the policy's."""
    companion = vocabulary(folder)
    if companion is None or policy is None or companion == policy:
        return []
    shared = sum(policy.get(piece) == index for piece, index in companion.items())
    got = f"{folder}, of whose {len(companion)} tokens {shared} are the policy's {len(policy)}"
    return [Problem(key, got, "the policy's tokenizer", remedy)]
