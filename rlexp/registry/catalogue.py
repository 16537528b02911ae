"""Catalogue of a model registry: asked of MLflow, or read straight from its SQLite file.

MLflow's client takes seconds to be imported: too long for the answer to a mistyped name. The tables
are those of MLflow 3; a test holds both ways of reading to the same answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from rlexp.tracking.store.read_only import (
    open_read_only,
    sqlite_file,
    store_errors,
    unreachable_error,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

Aliases = Mapping[str, str]
"""The number of the version that each alias means."""

_TIMEOUT = 5.0  # seconds
_DELETED = "Deleted_Internal"
"""MLflow keeps the rows of versions that were deleted, at this stage."""


@dataclass(frozen=True)
class VersionEntry:
    """What a registry keeps of one version."""

    source: str
    """Where its files are, as MLflow addresses them."""
    created: int
    """Milliseconds since 1970."""
    tags: Mapping[str, str]


class Catalogue(Protocol):
    """A registry that is only read; each call raises `UserError` where it does not answer."""

    def models(self) -> dict[str, Aliases]:
        """Return the aliases of each registered model."""
        ...

    def version_numbers(self, name: str) -> list[str]:
        """Return the numbers of a model's versions, in their order."""
        ...

    def entry(self, name: str, number: str) -> VersionEntry:
        """Return a version that is there."""
        ...


def open_catalogue(address: str) -> Catalogue:
    """Open the registry at a resolved address.

    Raises:
        UserError: nothing is there, or it does not answer within seconds, or it is no store.
    """
    if urlsplit(address).scheme.partition("+")[0] == "sqlite":
        return _SQLiteCatalogue(address, sqlite_file(address))
    return _MLflowCatalogue(address, open_read_only(address))


class _MLflowCatalogue:
    def __init__(self, address: str, client: MlflowClient) -> None:
        self._address, self._client = address, client

    def models(self) -> dict[str, Aliases]:
        with store_errors(self._address):
            models = self._client.search_registered_models(max_results=1000)
        return {
            model.name: {alias: str(number) for alias, number in model.aliases.items()}
            for model in models
        }

    def version_numbers(self, name: str) -> list[str]:
        quoted = name.replace("'", "''")
        with store_errors(self._address):
            versions = self._client.search_model_versions(f"name = '{quoted}'")
        return sorted((str(version.version) for version in versions), key=int)

    def entry(self, name: str, number: str) -> VersionEntry:
        with store_errors(self._address):
            version = self._client.get_model_version(name, number)
            source = self._client.get_model_version_download_uri(name, number)
        return VersionEntry(source, version.creation_timestamp, version.tags)


class _SQLiteCatalogue:
    def __init__(self, address: str, path: Path) -> None:
        self._address, self._file = address, f"{path.as_uri()}?mode=ro"

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

    def entry(self, name: str, number: str) -> VersionEntry:
        query = """
            SELECT coalesce(storage_location, source), creation_time FROM model_versions
            WHERE name = ? AND version = ?
        """
        ((source, created),) = self._query(query, name, number)
        tags = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
        return VersionEntry(source, created, dict(self._query(tags, name, number)))

    def _query(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(self._file, uri=True, timeout=_TIMEOUT)) as connection:
                yield from connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise unreachable_error(self._address, error) from error
