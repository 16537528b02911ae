"""MLflow's model registry: from `registry:NAME@ALIAS` to the files of one version.

An alias moves, a version does not: a run asks once, at its start, and keeps `registry:NAME/VERSION`
in its config. MLflow's client takes seconds to be imported, too long for the answer to a mistyped
name: a SQLite file is read straight. A test holds both ways of reading to the same answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import PREFIX, Reference, is_registered
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.connection import resolve
from rlexp.tracking.store.read_only import (
    open_read_only,
    query_sqlite,
    sqlite_file,
    store_errors,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

LISTED = 10
"""Registered models that an error names."""
Aliases = Mapping[str, str]
"""The number of the version that each alias means."""

DESCRIBED = "rlexp.model"
"""Tag of a version: keys of the config group `model` that hold for its weights, as JSON."""
DESCRIBING = ("license", "chat", "dtype", "recommended")
"""Those keys; others in a tag, which anybody may have set, are passed over."""
_DELETED = "Deleted_Internal"
"""MLflow keeps the rows of versions that were deleted, at this stage."""


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
        """The keys of the config that hold for these weights, as `promote` noted them."""
        noted = json.loads(self.tags.get(DESCRIBED, "{}"))
        return {key: noted[key] for key in DESCRIBING if key in noted}

    @property
    def path(self) -> str:
        """The path that names this version and no other in the registry."""
        return f"{PREFIX}{self.name}/{self.number}"

    @property
    def identity(self) -> str:
        """What tells it from versions of this number in other registries, or in one begun anew."""
        parts = [self.uri, self.source, self.name, self.number, str(self.created)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def download(self, target: Path, wanted: Callable[[str], bool]) -> None:
        """Copy its files into a folder, those only whose name is wanted.

        Raises `UserError` where the store does not answer, or has nothing that is wanted.
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


def open_catalogue(address: str) -> _SQLiteCatalogue | _MLflowCatalogue:
    """Open the registry at a resolved address; each call raises where it does not answer.

    Raises `UserError` where nothing is there, or it does not answer within seconds, or is no store.
    """
    if urlsplit(address).scheme.partition("+")[0] == "sqlite":
        return _SQLiteCatalogue(address, sqlite_file(address))
    return _MLflowCatalogue(address, open_read_only(address))


class _MLflowCatalogue:
    def __init__(self, address: str, client: MlflowClient) -> None:
        self._address, self._client = address, client

    def models(self) -> dict[str, Aliases]:
        """Return the aliases of each registered model."""
        with store_errors(self._address):
            models = self._client.search_registered_models(max_results=1000)
        return {
            model.name: {alias: str(number) for alias, number in model.aliases.items()}
            for model in models
        }

    def version_numbers(self, name: str) -> list[str]:
        """Return the numbers of a model's versions, in their order."""
        quoted = name.replace("'", "''")
        with store_errors(self._address):
            versions = self._client.search_model_versions(f"name = '{quoted}'")
        return sorted((str(version.version) for version in versions), key=int)

    def entry(self, name: str, number: str) -> Version:
        """Return a version that is there."""
        with store_errors(self._address):
            version = self._client.get_model_version(name, number)
            source = self._client.get_model_version_download_uri(name, number)
        created = version.creation_timestamp
        return Version(name, number, self._address, source, created, version.tags)


class _SQLiteCatalogue:
    def __init__(self, address: str, path: Path) -> None:
        self._address = address
        self._query = partial(query_sqlite, address, path)

    def models(self) -> dict[str, Aliases]:
        models: dict[str, dict[str, str]] = {
            name: {} for (name,) in self._query("SELECT name FROM registered_models ORDER BY name")
        }
        aliases = "SELECT name, alias, version FROM registered_model_aliases ORDER BY alias"
        for name, alias, number in self._query(aliases):
            models[name][alias] = str(number)
        return dict(models)

    def version_numbers(self, name: str) -> list[str]:
        query = """
            SELECT version FROM model_versions WHERE name = ? AND current_stage != ?
            ORDER BY version
        """
        return [str(number) for (number,) in self._query(query, name, _DELETED)]

    def entry(self, name: str, number: str) -> Version:
        query = """
            SELECT coalesce(storage_location, source), creation_time FROM model_versions
            WHERE name = ? AND version = ?
        """
        ((source, created),) = self._query(query, name, number)
        tags = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
        noted = dict(self._query(tags, name, number))
        return Version(name, number, self._address, source, created, noted)


@cache
def find_version(path: str, uri: str | None, key: str) -> Version:
    """Return the version that a path names; in one process an alias always means the same one.

    The path is `registry:NAME@ALIAS`, `registry:NAME/VERSION`, or `registry:NAME` for the newest,
    and was typed at `key`. Raises `UserError` where there is none, with those that there are.
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
    number = reference.version if reference.version in numbers else None
    if reference.alias is not None:
        number = aliases.get(reference.alias)
    elif reference.version is None:
        number = numbers[-1] if numbers else None
    if number is None:
        raise UserError(_unknown_version(path, key, name, aliases, numbers))
    return registry.entry(name, number)


def pin_references(config: Any, uri: str | None, key: str = "") -> Any:
    """Return a composed config in which each `registry:` path names a version, not an alias.

    `key` is the full path of `config` in the whole. Raises as `find_version`.
    """
    if isinstance(config, dict):
        path = f"{key}." if key else ""
        return {name: pin_references(part, uri, f"{path}{name}") for name, part in config.items()}
    if isinstance(config, str) and is_registered(config):
        return find_version(config, uri, key).path
    return config


def _unknown_model(
    path: str, key: str, name: str, models: Mapping[str, Aliases], address: str
) -> Problem:
    if not models:
        remedy = "Promote a run first: python -m rlexp promote RUN --name my-model"
        return Problem(key, path, f"a model registered in {address}, which has none", remedy)
    shown = [" @".join([known, *aliases]) for known, aliases in models.items()]
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
