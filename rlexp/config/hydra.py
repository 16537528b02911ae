"""Composing configs with Hydra: the one place that touches its global state.

Hydra's own main composes once more what the command line's check has composed; nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.runtime.paths import CONF

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

BASE = "_"
"""Names of yaml files that others inherit from begin so; they are no choices."""


@contextmanager
def config_loader(
    config_dir: Path = CONF, search_path: Path | None = None
) -> Iterator[ConfigLoaderImpl]:
    """Let `hydra.compose` be called in the block; its config loader.

    Choices are those of `config_dir`, and of a `search_path` as well: `--config-dir`, which only
    Hydra's own main would look at.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        loader: ConfigLoaderImpl = GlobalHydra.instance().config_loader()  # pyright: ignore[reportAssignmentType]
        if search_path:
            places = loader.get_search_path()
            places.prepend("command-line", f"file://{search_path}", anchor="schema")
            loader.repository.initialize_sources(places)
        yield loader


def composed_config(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the config of `conf/` with the overrides, not yet resolved."""
    from hydra import compose

    with config_loader():
        return compose("config", list(overrides))


def group_choices(loader: ConfigLoader, group: str) -> list[str]:
    """Return the choices of a group, wherever the loader finds them; none where it is no group."""
    return [name for name in loader.get_group_options(group) if not name.startswith(BASE)]


def choice_files(group: str) -> list[Path]:
    """Return the yaml files of a group's choices in `conf/`, by name."""
    files = sorted((CONF / group).glob("*.yaml"))
    return [file for file in files if not file.stem.startswith(BASE)]
