"""Registered models in a config: as choices of the group `model`, and held to their versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlexp.runtime.paths import CONF
from rlexp.spec.files.registry_reference import is_registered


def register_choice(choice: str, registry: str | None) -> None:
    """Let Hydra know a registered model as a choice of the group `model`."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from rlexp.registry.versions import find_version

    version = find_version(choice, registry, "model")
    config = OmegaConf.load(CONF / "model" / "registry.yaml")
    told = {"name": version.name, "path": version.path, **version.described}
    # A slash in a choice is Hydra's for a group within the group.
    group, _, name = f"model/{choice}".rpartition("/")
    node = OmegaConf.merge(config, told)
    ConfigStore.instance().store(name, node, group=group, package="model")


def pin_versions(config: dict[str, Any]) -> dict[str, Any]:
    """The composed config with versions in place of aliases of registered models.

    Raises:
        UserError: a registered model that is not there.
    """
    if not any(is_registered(value) for value in _texts(config)):
        return config
    from rlexp.registry.versions import pin_references

    return pin_references(config, config["tracking"]["registry"])


def _texts(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        for value in config.values():
            yield from _texts(value)
    elif isinstance(config, str):
        yield config
