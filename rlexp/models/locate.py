"""Where a model's files are: the cache of the embedded one, a local folder, or the hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.model import ModelSpec

WEIGHTS = ["*.safetensors", "*.safetensors.index.json"]
"""Pickled weights are never fetched: loading them can run code."""
COMPANIONS = ["*.json", "*.txt", "*.model", "*.jinja", "tokenizer*"]


def model_folder(model: ModelSpec, progress: Callable[[int, int, float], None]) -> Path:
    """The folder with the model's weights; policy, reference and tokenizer are all loaded from it.

    Args:
        model: which model.
        progress: told of each step while the embedded model is made.

    Raises:
        UserError: a hub id that cannot be had, with the way to use a local folder.
    """
    if model.path == "builtin:tiny":
        from rlexp.models import tiny

        return tiny.ensure(progress=progress)
    return local_folder(model.path, model.revision, "model.path", model.trust_remote_code)


def fetch(model: ModelSpec) -> None:
    """Have the files of a hub model here; the embedded one is made later.

    Raises:
        UserError: a hub id that cannot be had, with the way to use a local folder.
    """
    if model.path != "builtin:tiny":
        local_folder(model.path, model.revision, "model.path", model.trust_remote_code)


def local_folder(path: str, revision: str | None, key: str, with_code: bool = False) -> Path:
    """The folder itself, or that of a hub id's snapshot, which is downloaded where it is missing.

    Args:
        path: a folder, or a hub id.
        revision: hub branch, tag or commit.
        key: the config key that names it, for errors.
        with_code: whether Python files are fetched too.
    """
    local = Path(path).expanduser()
    if local.is_dir():
        return local.resolve()
    return hub_folder(path, revision, with_code, key)


def hub_folder(repository: str, revision: str | None, with_code: bool, key: str) -> Path:
    """Download a repository from the hub, or find it in the cache; the local snapshot's folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = [*WEIGHTS, *COMPANIONS, *(["*.py"] if with_code else [])]
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:
        remedy = "Accept its licence on its page, then log in with `hf auth login`."
        raise UserError(Problem(key, f"{repository}, gated", "access", remedy)) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        got = repository if revision is None else f"{repository} at {revision}"
        remedy = "Check its spelling on the hub; a private one needs `hf auth login`."
        raise UserError(Problem(key, got, "a repository on the hub", remedy)) from error
    except (
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        HfHubHTTPError,
        OSError,
    ) as error:
        offline = os.environ.get("HF_HUB_OFFLINE") == "1"
        why = "HF_HUB_OFFLINE=1 is set" if offline else "the hub cannot be reached"
        got = f"{repository}, not in the local cache, and {why}"
        remedy = (
            f"With a network: hf download {repository} --local-dir FOLDER; "
            f"then {key}=FOLDER (and copy the folder where there is none)."
        )
        raise UserError(Problem(key, got, "a model that is here", remedy)) from error
