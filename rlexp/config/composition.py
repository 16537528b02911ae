"""What is wrong where Hydra cannot compose a config, in the words of the command that was typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches

from rlexp.config.hydra import group_choices
from rlexp.spec.errors import Problem

_MISSING_CHOICE = re.compile(r"(?:In '(?P<file>.+)': )?Could not find '(?P<group>.+)/(?P<name>.+)'")
_MISSING_VARIABLE = re.compile(r"Environment variable '(?P<name>.+)' not found")
_HELP = "`python -m rlexp --help` lists the groups and their choices."


def composition_problem(overrides: Sequence[str], error: Exception) -> Problem:
    """Return the problem of a config that cannot be composed.

    Args:
        overrides: of the config, as Hydra takes them.
        error: raised by Hydra, OmegaConf or the reader of yaml.
    """
    shown = " ".join(override.lstrip("+").replace("\\", "") for override in overrides)
    typed = shown or "the config"
    if (mark := getattr(error, "problem_mark", None)) is not None:
        cause = getattr(error, "problem", None) or "what is no yaml"
        want = "yaml: indentation by spaces, brackets and quotes in pairs"
        return Problem(f"{mark.name}:{mark.line + 1}", str(cause), want, "Mend that line.")
    cause = str(error).splitlines()[0]
    if match := _MISSING_CHOICE.search(cause):
        place = typed if match["file"] in (None, "config") else match["file"]
        return _missing_choice(place, match["group"], match["name"])
    key = getattr(error, "full_key", None) or typed
    if match := _MISSING_VARIABLE.search(cause):
        name = match["name"]
        got = f"${{oc.env:{name}}}, a variable that is not set"
        remedy = f"Set it: export {name}=VALUE; or type a default: ${{oc.env:{name},DEFAULT}}"
        return Problem(key, got, "the name of a variable of the environment", remedy)
    if "HydraConfig was not set" in cause:
        remedy = "Type the value; the current folder is ${oc.env:PWD}."
        return Problem(key, "${hydra:…}", "what is known before Hydra begins", remedy)
    if "interpolation" in cause.lower():
        remedy = "For the text itself put a backslash before the dollar sign, in single quotes: "
        remedy += f"'{key}=\\${{…}}'"
        want = "${KEY} of a key that there is (`--cfg job` shows them), or ${oc.env:VARIABLE}"
        return Problem(key, cause, want, remedy)
    if cause.startswith("Multiple values for"):
        return Problem(typed, "a second choice behind a plus", "one choice", f"Type {shown}")
    if len(overrides) == 1:
        return Problem(typed, cause, "a config that composes", f"Leave {typed} away. {_HELP}")
    remedy = f"Leave away what is wrong of {shlex.quote(typed)}. {_HELP}" if shown else _HELP
    return Problem(typed, cause, "a config that composes", remedy)


def _missing_choice(place: str, group: str, name: str) -> Problem:
    from hydra.core.global_hydra import GlobalHydra

    options = group_choices(GlobalHydra.instance().config_loader(), group)
    near = get_close_matches(name, options, n=1)
    remedy = f"Did you mean {group}: {near[0]}?" if near else _HELP
    want = f"one of {', '.join(options)}" if options else "a choice of a group that there is"
    return Problem(place, f"{group}: {name}", want, remedy)
