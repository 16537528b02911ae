"""What rlexp needs installed: ranges, the versions that its tests run with, the command for it."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem

MODULES = {
    "quant": "bitsandbytes",
    "vllm": "vllm",
    "deepspeed": "deepspeed",
    "ray": "ray",
    "postgres": "psycopg",
    "rewards": "math_verify",
    "verse": "pronouncing",
}
"""Each optional extra with the module that shows that it is here."""
CONFLICTING = {"vllm"}
"""Extras whose own demands contradict the tested versions."""

_PROJECT = CONF.parent / "pyproject.toml"  # in a checkout only


def requirements() -> list[Requirement]:
    """Return the packages that rlexp cannot do without here, with their ranges."""
    if _PROJECT.is_file():
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
        texts = project["dependencies"]
    else:
        texts = metadata.requires("rlexp") or []
    parsed = map(Requirement, texts)
    return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]


def pinned_versions() -> dict[str, str]:
    """Return the version of each package that the tests run with, by its canonical name.

    A checkout has them; a wheel knows the ranges only, and gives none.
    """
    if not _PROJECT.is_file():
        return {}
    lines = _PROJECT.with_name("constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def install_command(extra: str = "") -> str:
    """Return how to install rlexp, with an extra where one is named."""
    brackets = f"[{extra}]" if extra else ""
    if not _PROJECT.is_file():
        return f"python -m pip install --upgrade 'rlexp{brackets}'"
    constraints = "" if extra in CONFLICTING else "-c constraints.txt "
    return f"python -m pip install {constraints}-e '.{brackets}'"


def missing_packages(module: str, extra: str, key: str) -> list[Problem]:
    """Return the problem where an extra's module, which a key's choice needs, is not installed."""
    if importlib.util.find_spec(module) is not None:
        return []
    want = f"the extra `{extra}`"
    return [Problem(key, f"a choice that needs {module}", want, install_command(extra))]
