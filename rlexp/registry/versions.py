"""MLflow's model registry: from `registry:NAME@ALIAS` to the files of one version.

An alias moves, a version does not: a run asks once, at its start, and keeps `registry:NAME/VERSION`
in its config.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from rlexp.registry.catalogue import Aliases, Version, open_catalogue
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.files.registry_reference import PREFIX, Reference, is_registered
from rlexp.tracking.secrets import redacted
from rlexp.tracking.store.connection import resolve

LISTED = 10
"""Registered models that an error names."""


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
