"""Overrides put on a config that an earlier run left.

It is resolved: what once followed from a choice (`train.max_steps` from the model, `data` from the
algorithm) stands there by itself, and would stay when another choice took its place. So only groups
that nothing else follows from can be chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from rlexp.config.hydra import choice_files, composed_config, parse_override
from rlexp.config.stored import Config
from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths
from rlexp.spec.validation import unknown_choice, unknown_key

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


def overridden(
    before: Config,
    overrides: Sequence[str],
    groups: Collection[str],
    may_be_new: Callable[[str], bool],
    problems: list[Problem],
) -> Config:
    """Return a stored config with the overrides, as far as they can be understood.

    These are `key=value`, or `group=choice` for one of `groups`, in any order: as in Hydra choices
    come first. A key that the config does not have is added where it `may_be_new`. Mistakes go to
    `problems`; what the values are worth is for the spec to judge.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = OmegaConf.create(before)
    known = list(key_paths(before))
    parsed: list[Override] = []
    for text in overrides:
        try:
            parsed.append(parse_override(text))
        except UserError as error:
            problems += error.problems
    for override in sorted(parsed, key=lambda override: not _is_group(override.key_or_group)):
        key = override.key_or_group
        if override.is_delete() or override.is_sweep_override() or override.is_hydra_override():
            problems.append(Problem(key, str(override.input_line), "key=value: it is one run"))
        elif _is_group(key):
            _choose(config, key, str(override.value()), groups, problems)
        elif key in known or may_be_new(key):
            try:
                OmegaConf.update(config, key, override.value(), force_add=True)
            except OmegaConfBaseException:  # something below a key that holds a value
                problems.append(unknown_key(key, known))
        else:
            problems.append(unknown_key(key, known))
    return OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportReturnType]


def _is_group(key: str) -> bool:
    return (CONF / key).is_dir()


def _choose(
    config: DictConfig, group: str, choice: str, groups: Collection[str], problems: list[Problem]
) -> None:
    """Put a choice of a config group in the place of what stands there."""
    if group not in groups:
        want = f"one of {', '.join(f'{name}=…' for name in groups)}, or key=value"
        problems.append(Problem(group, choice, want, "With another one, start a new run."))
        return
    options = [file.stem for file in choice_files(group)]
    if choice in options:
        config[group] = composed_config([f"{group}={choice}", "~algo"])[group]
    else:
        problems.append(unknown_choice(group, choice, options))
