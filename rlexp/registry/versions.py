"""MLflow's model registry: from `registry:NAME@ALIAS` to the files of one version.

An alias moves, a version does not: a run asks once, at its start, and keeps `registry:NAME/VERSION`
in its config.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from rlexp.registry.catalogue import Aliases, open_catalogue
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import PREFIX, Reference, is_registered
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.connection import resolve
from rlexp.tracking.store.read_only import store_errors

DESCRIBED = "rlexp.model"
"""Tag of a version: keys of the config group `model` that hold for its weights, as JSON."""
DESCRIBING = ("license", "chat", "dtype", "recommended")
"""Those keys; others in a tag, which anybody may have set, are passed over."""
LISTED = 10
"""Registered models that an error names."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: str
    uri: str
    """Resolved address of the registry."""
    source: str
    """Where its files are, as MLflow addresses them."""
    created: int
    """Milliseconds since 1970."""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def described(self) -> dict[str, Any]:
        """Keys of the config that hold for these weights, as `promote` noted them."""
        noted = json.loads(self.tags.get(DESCRIBED, "{}"))
        return {key: noted[key] for key in DESCRIBING if key in noted}

    @property
    def path(self) -> str:
        """The path that names this version and no other in the registry."""
        return f"{PREFIX}{self.name}/{self.number}"

    @property
    def identity(self) -> str:
        """Tells it from versions of this number in other registries, or in one begun anew."""
        parts = [self.uri, self.source, self.name, self.number, str(self.created)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def download(self, target: Path, wanted: Callable[[str], bool]) -> None:
        """Copy its files into a folder, those only whose name is wanted.

        Raises:
            UserError: the store does not answer, or has nothing that is wanted.
        """
        from mlflow.artifacts import download_artifacts

        with store_errors(self.uri):
            files = [path for path in self._files() if wanted(PurePosixPath(path).name)]
            for path in files:
                place = target / PurePosixPath(path).parent
                uri = f"{self.source}/{path}"
                download_artifacts(artifact_uri=uri, dst_path=str(place), tracking_uri=self.uri)
        if not files:
            got = f"{self.path}, without files that can be loaded ({self.source})"
            raise UserError(Problem("model.path", got, "a version that `promote` made"))

    def _files(self, folder: str = "") -> Iterator[str]:
        from mlflow.artifacts import list_artifacts

        uri = f"{self.source}/{folder}" if folder else self.source
        for entry in list_artifacts(artifact_uri=uri, tracking_uri=self.uri):
            path = str(PurePosixPath(folder, PurePosixPath(entry.path).name))
            if entry.is_dir:
                yield from self._files(path)
            else:
                yield path


@cache
def find_version(path: str, uri: str | None, key: str) -> Version:
    """Return the version that a path names; in one process an alias always means the same one.

    Args:
        path: `registry:NAME@ALIAS`, `registry:NAME/VERSION`, or `registry:NAME` for the newest.
        uri: `tracking.registry`.
        key: where the path was typed, for errors.

    Raises:
        UserError: no registry, or no such model, alias or version in it: with those that there are.
    """
    reference = Reference.parse(path, key)
    if uri is None:
        remedy = "Set tracking.registry=sqlite:///mlflow.db, or to a server's address."
        raise UserError(Problem("tracking.registry", "null", f"a registry for {path}", remedy))
    address, name = resolve(uri), reference.name
    registry = open_catalogue(address)
    models = registry.models()
    if name not in models:
        raise UserError(_unknown_model(path, key, name, models, redacted(address)))
    aliases, numbers = models[name], registry.version_numbers(name)
    number = _number(reference, aliases, numbers)
    if number is None:
        raise UserError(_unknown_version(path, key, name, aliases, numbers))
    entry = registry.entry(name, number)
    return Version(name, number, address, entry.source, entry.created, entry.tags)


def pin_references(config: Any, uri: str | None, key: str = "") -> Any:
    """Return a composed config in which each `registry:` path names a version in place of an alias.

    Args:
        config: plain dictionaries and lists.
        uri: `tracking.registry`.
        key: full path of `config` in the whole.

    Raises:
        UserError: as `find_version`.
    """
    if isinstance(config, dict):
        prefix = f"{key}." if key else ""
        return {
            name: pin_references(value, uri, f"{prefix}{name}") for name, value in config.items()
        }
    if isinstance(config, str) and is_registered(config):
        return find_version(config, uri, key).path
    return config


def _number(reference: Reference, aliases: Aliases, numbers: list[str]) -> str | None:
    if reference.alias is not None:
        return aliases.get(reference.alias)
    if reference.version is None:
        return numbers[-1] if numbers else None
    return reference.version if reference.version in numbers else None


def _unknown_model(
    path: str, key: str, name: str, models: Mapping[str, Aliases], address: str
) -> Problem:
    if not models:
        remedy = "Promote a run first: python -m rlexp promote RUN --name my-model"
        return Problem(key, path, f"a model registered in {address}, which has none", remedy)
    shown = [
        known + "".join(f" @{alias}" for alias in aliases) for known, aliases in models.items()
    ]
    near = get_close_matches(name, models, n=1)
    remedy = f"Did you mean {PREFIX}{near[0]}?" if near else ""
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return Problem(key, path, f"one of {', '.join(shown[:LISTED])}{more}, in {address}", remedy)


def _unknown_version(
    path: str, key: str, name: str, aliases: Aliases, numbers: list[str]
) -> Problem:
    meant = [f"@{alias} (version {number})" for alias, number in aliases.items()]
    has = [f"versions {', '.join(numbers) or 'none'}", f"aliases {', '.join(meant) or 'none'}"]
    ending = f"@{next(iter(aliases))}" if aliases else f"/{numbers[-1] if numbers else 1}"
    remedy = f"Such as {PREFIX}{name}{ending}." if numbers else ""
    return Problem(key, path, f"what {name} has: {'; '.join(has)}", remedy)
