"""Models in a config by name: registered ones as choices of the group `model` and held to their
versions, and that of an earlier run by its folder."""

from __future__ import annotations

from pathlib import Path

from rlexp.config.stored import Config
from rlexp.spec.files.model_folder import model_of_run
from rlexp.spec.files.rated_run import rated_run
from rlexp.spec.files.registry_reference import is_registered
from rlexp.spec.keys import key_values
from rlexp.spec.run import RunSpec


def register_choice(choice: str, registry: str | None) -> None:
    """Let Hydra know a registered model as a choice of the group `model`."""
    from hydra.core.config_store import ConfigStore

    from rlexp.registry.versions import find_version

    version = find_version(choice, registry, "model")
    node = {"defaults": ["/model/registry@_here_", "_self_"], "name": version.name}
    node |= {"path": version.path, **version.described}
    # A slash in a choice is Hydra's for a group within the group.
    group, _, name = f"model/{choice}".rpartition("/")
    ConfigStore.instance().store(name, node, group=group, package="model")


def register_file(group: str, file: str) -> bool:
    """Let Hydra know a yaml file, wherever it is, as a choice of a group; whether it is there."""
    import yaml
    from hydra.core.config_store import ConfigStore

    if not file.endswith((".yaml", ".yml")) or not Path(file).is_file():
        return False
    try:
        node = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return False  # whoever reads it tells the line
    place, _, name = f"{group}/{file}".rpartition("/")
    ConfigStore.instance().store(name, node, group=place, package=group)
    return True


def parse_pinned(config: Config, known: list[str] | None = None) -> tuple[Config, RunSpec]:
    """Return the config with versions in place of aliases and folders of runs' names, and its spec.

    `known` are full paths of all keys that exist, for the nearest right name.

    Raises `UserError` with every mistake that the config shows, or, if it is right otherwise, a
    registered model that is not there.
    """
    spec = RunSpec.parse(config, known)
    pinned = pin_versions(config)
    return pinned, spec if pinned is config else RunSpec.parse(pinned, known)


def pin_versions(config: Config) -> Config:
    """Return the composed config with versions in place of aliases of registered models, and
    folders in place of the names of runs that left the model or the rows: what is stored means the
    same elsewhere.

    Raises `UserError` where a registered model is not there, or a run has no model.
    """
    path = config["model"]["path"]
    if isinstance(path, str) and (folder := model_of_run(path, "model.path")):
        config = {**config, "model": {**config["model"], "path": str(folder)}}
    rows = config["data"].get("path")
    if isinstance(rows, str) and rows.startswith("run:") and (run := rated_run(rows, "data.path")):
        config = {**config, "data": {**config["data"], "path": str(run)}}
    if not any(isinstance(value, str) and is_registered(value) for _, value in key_values(config)):
        return config
    from rlexp.registry.versions import pin_references

    return pin_references(config, config["tracking"]["registry"])
