"""All that is wrong with a model's folder, found before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlexp.spec.errors import Problem
from rlexp.spec.files.architecture import architecture_problems, has_no_sdpa
from rlexp.spec.files.model_folder import base_of_adapter, is_adapter
from rlexp.spec.files.weights import weight_problems
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import Head


def folder_problems(
    folder: Path, model: ModelSpec, heads: Iterable[Head], key: str
) -> list[Problem]:
    """Return what keeps a run from training the model in a folder.

    Args:
        folder: of a whole model, or of an adapter, whose base is looked at where it is here.
        model: what was asked for.
        heads: what the run makes of it.
        key: that names the model.
    """
    if is_adapter(folder):
        return _adapter_problems(folder, model, heads, key)
    problems: list[Problem] = []
    config = _read_config(folder / "config.json", key, problems)
    if config is None:
        return problems
    problems += architecture_problems(config, str(folder), key, heads, model.trust_remote_code)
    if problems:
        return problems  # the tensors of another kind of model say nothing more
    family = config["model_type"]
    if model.attention == "sdpa" and has_no_sdpa(family):
        want = f"another: transformers has no sdpa for {family}"
        problems.append(Problem("model.attention", "sdpa", want, "Set model.attention=auto."))
    return [*problems, *weight_problems(folder, config, key)]


def _read_config(file: Path, key: str, problems: list[Problem]) -> dict[str, Any] | None:
    """Return a config; None after adding what is wrong with its file."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
        what = "which holds no mapping"
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        what = f"which cannot be read ({error})"
    remedy = "Copy or download it again."
    problems.append(Problem(key, f"{file}, {what}", "a config in JSON", remedy))
    return None


def _adapter_problems(
    folder: Path, model: ModelSpec, heads: Iterable[Head], key: str
) -> list[Problem]:
    problems = weight_problems(folder, {}, key)
    config = _read_config(folder / "adapter_config.json", key, problems)
    if config is None:
        return problems
    base = base_of_adapter(folder, config)
    where = f"{folder}, an adapter"
    remedy = "Put the base's folder, or its hub id, into base_model_name_or_path there."
    if not isinstance(base, str) or not base:
        want = "the model that it belongs to, in adapter_config.json"
        return [*problems, Problem(key, f"{where} that names no base", want, remedy)]
    base_folder = Path(base).expanduser()
    if base_folder.is_dir():
        return [*problems, *folder_problems(base_folder, model, heads, key)]
    if base.startswith(("/", ".", "~")) or base.count("/") != 1:
        got = f"{where} of {base}, which is not there"
        return [*problems, Problem(key, got, "the folder of its base", remedy)]
    return problems
