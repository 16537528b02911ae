"""Where a model's files are: a cache, a folder, a GGUF file, MLflow's registry, or the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from rlexp.models.adapters import ADAPTER_CONFIG, BASE, base_of, merged_weights
from rlexp.models.gguf.reading import dequantised_folder
from rlexp.runtime.cache import cache_folder, make_once
from rlexp.runtime.waiting import announced_wait
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.model_folder import is_adapter
from rlexp.spec.files.model_problems import folder_problems
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.gguf import gguf_file, names_gguf
from rlexp.spec.model import ModelSpec
from rlexp.spec.model_kind import Head

WEIGHTS = ["*.safetensors", "*.safetensors.index.json"]
"""Pickled weights are never fetched: loading them can run code."""
COMPANIONS = ["*.json", "*.txt", "*.model", "*.jinja", "tokenizer*"]


class Registered(Protocol):
    """A version in a model registry."""

    @property
    def identity(self) -> str:
        """Tells it from all other versions, also of other registries."""
        ...

    def download(self, target: Path, wanted: Callable[[str], bool]) -> None:
        """Copy its files into a folder, those only whose name is wanted."""
        ...


FolderOf = Callable[..., Path]
"""`local_folder`, knowing how to ask the registry."""


def model_folder(
    model: ModelSpec, progress: Callable[[int, int, float], None], folder_of: FolderOf
) -> Path:
    """The folder with the model's weights; policy, reference and tokenizer are all loaded from it.

    Args:
        model: which model.
        progress: told of each step while the embedded model is made.
        folder_of: as `local_folder`.

    Raises:
        UserError: a hub id that cannot be had, with the way to use a local folder.
    """
    if model.path == "builtin:tiny":
        from rlexp.builtin import tiny

        return tiny.ensure_tiny_model(progress=progress)
    folder = folder_of(model.path, model.revision, "model.path", model.trust_remote_code)
    return whole_folder(folder, folder_of)


def whole_folder(folder: Path, folder_of: FolderOf, key: str = "model.path") -> Path:
    """Return a folder of whole weights: the folder itself, or what comes of merging its adapter.

    Args:
        folder: of whole weights or of an adapter, whose base may be one that has an adapter too.
        folder_of: as `local_folder`.
        key: that names the model.
    """
    if not is_adapter(folder):
        return folder
    return merged_weights(folder, base_folder(folder, folder_of, key))


def base_folder(adapter: Path, folder_of: FolderOf, key: str = "model.path") -> Path:
    """Return the folder of the whole weights that an adapter belongs to; as `whole_folder`."""
    base, revision = base_of(adapter)
    return whole_folder(folder_of(base, revision, key), folder_of, key)


def made_folder(model: ModelSpec, folder_of: FolderOf) -> Path | None:
    """Return `model_folder` where it is there already; None where it is yet to be made."""
    if model.path == "builtin:tiny":
        from rlexp.builtin import tiny

        return tiny.made_tiny_model()
    if model.path.startswith("builtin:"):
        return None
    folder = folder_of(model.path, model.revision, "model.path", model.trust_remote_code)
    return None if is_adapter(folder) else folder


def fetch(model: ModelSpec, folder_of: FolderOf, heads: Iterable[Head]) -> None:
    """Have the files of a model here, whole; what rlexp makes itself is made later.

    Args:
        model: of the hub, of the registry, or a folder.
        folder_of: as `local_folder`.
        heads: what the run makes of it.

    Raises:
        UserError: a hub id that cannot be had, with the way to use a local folder, or files that
            the run cannot use.
    """
    key = "model.path"
    if model.path.startswith("builtin:"):
        return
    folder = folder_of(model.path, model.revision, key, model.trust_remote_code)
    problems = folder_problems(folder, model, heads, key)
    if is_adapter(folder) and not problems:
        base, revision = base_of(folder)
        problems = folder_problems(folder_of(base, revision, key), model, heads, key)
    if problems:
        raise UserError(problems)


def local_folder(
    path: str,
    revision: str | None,
    key: str,
    with_code: bool = False,
    *,
    registry: Callable[[str, str], Registered] | None = None,
) -> Path:
    """The folder itself, or that of a download, which is made where it is missing.

    Args:
        path: a folder, a hub id, a version in the registry, or a GGUF file.
        revision: hub branch, tag or commit.
        key: the config key that names it, for errors.
        with_code: whether Python files are fetched too, from the hub.
        registry: gives the version that a `registry:` path names; it is told the key as well.
    """
    if is_registered(path):
        assert registry is not None  # whoever lets such paths through says where the registry is
        version = registry(path, key)
        target = cache_folder() / "registry" / version.identity
        with announced_wait(f"the registry, for {path}"):
            return make_once(target, lambda draft: _download(version, draft, target))
    if names_gguf(path):
        return dequantised_folder(gguf_file(path, key), key)
    local = Path(path).expanduser()
    if local.is_dir():
        return local.resolve()
    return hub_folder(path, revision, with_code, key)


def _download(version: Registered, draft: Path, target: Path) -> None:
    """Fetch a version; an adapter that brings its base will find it in `target`."""
    version.download(draft, _loadable)
    if (draft / BASE).is_dir():
        file = draft / ADAPTER_CONFIG
        config = json.loads(file.read_text(encoding="utf-8"))
        config |= {"base_model_name_or_path": str(target / BASE), "revision": None}
        file.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _loadable(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in (*WEIGHTS, *COMPANIONS))


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
        with announced_wait(f"the hub, for {repository}"):
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
