"""A config that an earlier run left, and overrides put on it.

It is resolved: what once followed from a choice (`train.max_steps` from the model, `data` from the
algorithm) stands there by itself, and would stay when another choice took its place. So only groups
that nothing else follows from can be chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_paths, value_at
from rlexp.spec.validation import unknown_key
from rlexp.tracking.secrets import HIDDEN

Config = dict[str, Any]


def read_config(path: Path) -> Config:
    """The config in a file.

    Raises:
        UserError: it holds something else.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    wanted = "the config of a run: its config.yaml, or a sweep's best.yaml"
    try:
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        cause = f"a file that cannot be read: {str(error).splitlines()[0]}"
        raise UserError(Problem(str(path), cause, wanted)) from error
    if not isinstance(config, dict) or not config:
        raise UserError(Problem(str(path), "a file without keys", wanted))
    return {str(key): value for key, value in config.items()}


def overridden(
    before: Config,
    overrides: Sequence[str],
    groups: Collection[str],
    may_be_new: Callable[[str], bool],
    problems: list[Problem],
) -> Config:
    """The config with the overrides, as far as they can be understood.

    Args:
        before: the config as it was stored.
        overrides: `key=value`, or `group=choice` for one of `groups`; in any order, as in Hydra
            choices come first.
        groups: those that may be chosen anew.
        may_be_new: whether a key that the config does not have may be added.
        problems: where mistakes are added; what the values are worth is for the spec to judge.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config: Any = OmegaConf.create(before)
    known = list(key_paths(before))
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except OverrideParseException as error:
            first_line = str(error).splitlines()[0]
            problems.append(Problem(text, "an override", "key=value", f"{first_line}."))
    for override in sorted(parsed, key=lambda each: not _is_group(each.key_or_group)):
        key = override.key_or_group
        if override.is_delete() or override.is_sweep_override() or override.is_hydra_override():
            problems.append(Problem(key, override.input_line, "key=value: it is one run"))
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
    config: Any, group: str, choice: str, groups: Collection[str], problems: list[Problem]
) -> None:
    """Put a choice of a config group in the place of what stands there."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    if group not in groups:
        want = f"one of {', '.join(f'{name}=…' for name in groups)}, or key=value"
        problems.append(Problem(group, choice, want, "With another one, start a new run."))
        return
    options = sorted(each.stem for each in (CONF / group).glob("*.yaml"))
    if choice not in options:
        near = get_close_matches(choice, options, n=1)
        remedy = f"Did you mean {group}={near[0]}?" if near else ""
        problems.append(Problem(group, choice, f"one of {', '.join(options)}", remedy))
        return
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config[group] = compose("config", [f"{group}={choice}", "~algo"])[group]


def hidden(config: Config) -> list[Problem]:
    """Secrets that the config no longer holds: it comes from a tracking store."""
    return [
        Problem(
            key,
            f"{value!r}: a secret, which the tracking store does not hold",
            "its value",
            f"Add {key}=VALUE to the command.",
        )
        for key in key_paths(config)
        if isinstance(value := value_at(config, key), str)
        and HIDDEN in value
        and not key.startswith("tracking.tags.")
    ]
