"""`config.yaml`: what a run was composed to, written once in its folder and read from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlexp.runtime.files import write_atomically
from rlexp.runtime.run_folder import CONFIG
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.keys import key_values, with_current_names
from rlexp.tracking.secrets import HIDDEN

Config = dict[str, Any]


def write_config(folder: Path, config: Config) -> None:
    """Write a run's resolved config into its folder; a kill half-way leaves what was there."""
    from omegaconf import OmegaConf

    write_atomically(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(config)))


def read_config(path: Path) -> Config:
    """Return the config in a file, under today's names of its keys.

    Raises `UserError` where it holds something else.
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
    return with_current_names({str(key): value for key, value in config.items()})


def missing_secrets(config: Config) -> list[Problem]:
    """Return the secrets that the config no longer holds: it comes from a tracking store."""
    secrets = "a secret, which the tracking store does not hold"
    return [
        Problem(key, f"{value!r}: {secrets}", "its value", f"Add {key}=VALUE to the command.")
        for key, value in key_values(config)
        if isinstance(value, str) and HIDDEN in value and not key.startswith("tracking.tags.")
    ]
