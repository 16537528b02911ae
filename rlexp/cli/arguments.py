"""What the words behind a verb mean: the tracking store, options, and the rest."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.store.connection import WANTED, resolve

if TYPE_CHECKING:
    from rich.console import Console

URI, EXPERIMENT = "tracking.uri", "tracking.experiment"


class Parser(argparse.ArgumentParser):
    """argparse, except that a mistake is a `UserError` like all others.

    The first line of the verb's docstring introduces its `--help`.
    """

    def __init__(self, verb: str, doc: str | None) -> None:
        summary, _, details = (doc or "").partition("\n")
        super().__init__(
            prog=f"python -m rlexp {verb}",
            description=summary,
            epilog=details.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        wanted = " ".join(self.format_usage().removeprefix("usage:").split())
        raise UserError(Problem("command line", message, wanted, f"More: {self.prog} --help"))


def store_of(argv: Sequence[str]) -> tuple[str, str | None, list[str]]:
    """Return the store that the words name, its experiment, and the words that remain.

    The store is the resolved address of `tracking.uri=…`, else what `conf/tracking/mlflow.yaml`
    says; the experiment that of `tracking.experiment=…`, None for all of them.

    Raises `UserError` for an address that can never work, or another key of `tracking`.
    """
    typed: dict[str, str] = {}
    rest: list[str] = []
    problems: list[Problem] = []
    for word in argv:
        key, equals, value = word.partition("=")
        if not equals or not key.startswith("tracking."):
            rest.append(word)
        elif key in (URI, EXPERIMENT) and value:
            typed[key] = _unquoted(value)
        else:
            near = get_close_matches(key, [URI, EXPERIMENT], n=1, cutoff=0)
            remedy = f"Type {near[0]}=…"
            problems.append(Problem(key, repr(value), f"{URI} or {EXPERIMENT}", remedy))
    if typed.get(URI) == "null":
        remedy = f"Leave {URI} away for the store of conf/tracking/mlflow.yaml."
        problems.append(Problem(URI, "null", WANTED.removesuffix(", or null"), remedy))
    if problems:
        raise UserError(problems)
    return resolve(typed.get(URI) or default_uri()), typed.get(EXPERIMENT), rest


def default_uri() -> str:
    """Return the address of `conf/tracking/mlflow.yaml`."""
    from omegaconf import OmegaConf

    return OmegaConf.load(CONF / "tracking" / "mlflow.yaml").uri


def console_of_width(columns: int = 100, *, markup: bool = True) -> Console:
    """Return the terminal, or a console of so many columns where the output is none.

    Without `markup` brackets in a text are text.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=markup)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=markup, width=columns)


def _unquoted(value: str) -> str:
    """Return a value without quotes: Hydra's grammar wants some; people type them here too."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def lookup_store(overrides: Sequence[str]) -> tuple[str, str | None]:
    """Return the store, and its experiment, in which a verb with overrides looks up runs."""
    beginnings = (f"{URI}=", EXPERIMENT[:14])  # also where the end is mistyped
    uri, experiment, _ = store_of([word for word in overrides if word.startswith(beginnings)])
    return uri, experiment


def page_problems(html: Path | None) -> list[Problem]:
    """Return what is wrong with the file that `--html` names."""
    if html is None:
        return []
    if html.suffix.lower() not in (".html", ".htm"):
        remedy = "It will be overwritten, so it must look like a page."
        return [Problem("--html", str(html), "a file that ends with .html", remedy)]
    if not html.absolute().parent.is_dir():
        remedy = f"Make the folder: mkdir -p {shlex.quote(str(html.parent))}"
        return [Problem("--html", str(html), "a folder that exists", remedy)]
    return []
