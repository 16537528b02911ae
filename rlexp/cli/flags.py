"""Hydra's own flags, checked first: Hydra ends in a traceback where they are wrong."""

from __future__ import annotations

from argparse import Namespace
from difflib import get_close_matches
from pathlib import Path

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError

MULTIRUN = ("-m", "--multirun")
ACTIONS = ("run", "multirun", "cfg", "info", "shell_completion")


def check_flags(arguments: Namespace) -> None:
    """Refuse flags that do not go together, and config files that are not there.

    Args:
        arguments: what Hydra's own parser made of the command line. `--multirun` beside `--cfg` is
            left in: what a sweep's trials have in common can be shown.

    Raises:
        UserError: with everything that is wrong with them.
    """
    problems: list[Problem] = []
    given = [name for name in ACTIONS if getattr(arguments, name) not in (None, False)]
    if arguments.cfg is not None and "multirun" in given:
        given.remove("multirun")
    flags = [f"--{name.replace('_', '-')}" for name in given]
    if len(flags) > 1:
        remedy = f"Leave {flags[0]} away."
        problems.append(Problem("command line", " ".join(flags), "one of them", remedy))
    if arguments.resolve and arguments.cfg is None:
        remedy = "Add --cfg job, or leave --resolve away."
        problems.append(Problem("--resolve", "it without --cfg", "a config to show", remedy))
    if arguments.experimental_rerun is not None:  # it would unpickle the file, which can run code
        remedy = "From a run's config: python -m rlexp rerun FOLDER/config.yaml"
        got = "a pickled config, which can run code when it is read"
        problems.append(Problem("--experimental-rerun", got, "a config as text", remedy))
    folders = {"--config-dir": arguments.config_dir, "--config-path": arguments.config_path}
    for flag, folder in folders.items():
        if folder is not None and not Path(folder).is_dir():
            remedy = f"Make it: mkdir -p '{folder}'"
            problems.append(Problem(flag, f"{folder}, which is not there", "a folder", remedy))
    if arguments.config_name is not None and not problems:
        problems += _config_name_problems(arguments)
    if problems:
        raise UserError(problems)


def _config_name_problems(arguments: Namespace) -> list[Problem]:
    own = [arguments.config_dir] if arguments.config_dir else []
    places = [Path(place) for place in (*own, arguments.config_path or CONF)]
    name = arguments.config_name.removesuffix(".yaml")
    if any((place / f"{name}.yaml").is_file() for place in places):
        return []
    names = sorted(file.stem for place in places for file in place.glob("*.yaml"))
    near = get_close_matches(name, names, n=1, cutoff=0) or ["config"]
    remedy = f"Type --config-name {near[0]}, or leave it away."
    want = f"a file of {' or '.join(map(str, places))}"
    return [Problem("--config-name", arguments.config_name, want, remedy)]
