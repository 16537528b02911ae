"""Composing configs with Hydra: the one place that touches its global state.

Hydra's own main composes once more what the command line's check has composed; nothing else does.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

BASE = "_"
"""Names of yaml files that others inherit from begin so; they are no choices."""
_BROKEN_OFF = re.compile(r"""[\[{'"]|\w+\(""")
"""Begins a list, a mapping, a quoted text or a function."""


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

    keep_references()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        loader: ConfigLoaderImpl = GlobalHydra.instance().config_loader()  # pyright: ignore[reportAssignmentType]
        if search_path:
            places = loader.get_search_path()
            places.prepend("command-line", f"file://{search_path}", anchor="schema")
            loader.repository.initialize_sources(places)
        yield loader


def keep_references() -> None:
    """Let `${stage:NAME}` and `${reward:NAME}` of a pipeline stay as they are when a config is
    resolved."""
    from omegaconf import OmegaConf

    for kind in ("stage", "reward"):
        OmegaConf.register_new_resolver(
            kind, lambda *names, kind=kind: f"${{{kind}:{','.join(names)}}}", replace=True
        )


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


def parse_override(text: str) -> Override:
    """Return an override as Hydra's grammar has it; what the grammar has no place for is a text.

    So `name=größe`, `data.path=~/a=b.csv` and a regular expression need no quotes beside the
    shell's. A list, a mapping, a function or a quote that is broken off is a mistake.

    Raises:
        UserError: neither.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Quote, QuotedString
    from hydra.errors import OverrideParseException

    parser = OverridesParser.create()
    try:
        return parser.parse_overrides([text])[0]
    except OverrideParseException as error:
        key, equals, value = text.partition("=")
        cause = str(error).splitlines()[0]
        try:
            quoted = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
            as_text = parser.parse_overrides([quoted])[0]
        except OverrideParseException:
            want, remedy = "a key such as algo.beta", "`python -m rlexp --cfg job` shows all keys."
            raise UserError(Problem(text, cause, want, remedy)) from error
        if not equals:
            remedy = f"Type {text}=VALUE"
            raise UserError(Problem(text, "a key alone", "key=value", remedy)) from error
        if _BROKEN_OFF.match(value):
            remedy = f"If it is a text: {shlex.quote(quoted)}"
            raise UserError(Problem(text, cause, "key=value", remedy)) from error
        return as_text
