"""What the words behind a verb mean: the tracking store, options, and the rest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.store.connection import WANTED, resolve

_URI, _EXPERIMENT = "tracking.uri", "tracking.experiment"


class Parser(argparse.ArgumentParser):
    """argparse, except that a mistake is a `UserError` like all others.

    Args:
        verb: as it is typed behind `python -m rlexp`.
        doc: the verb's docstring; its first line introduces `--help`.
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
    """The store that the words name, and the words that remain.

    Returns:
        Its resolved address: of `tracking.uri=…`, else what `conf/tracking/mlflow.yaml` says. The
        MLflow experiment of `tracking.experiment=…`; None for all of them. The other words, in
        their order.

    Raises:
        UserError: an address that can never work, or another key of `tracking`.
    """
    given: dict[str, str] = {}
    rest: list[str] = []
    problems: list[Problem] = []
    for word in argv:
        key, equals, value = word.partition("=")
        if not equals or not key.startswith("tracking."):
            rest.append(word)
        elif key in (_URI, _EXPERIMENT) and value:
            given[key] = _unquoted(value)
        else:
            near = get_close_matches(key, [_URI, _EXPERIMENT], n=1, cutoff=0)
            remedy = f"Type {near[0]}=…"
            problems.append(Problem(key, repr(value), f"{_URI} or {_EXPERIMENT}", remedy))
    if given.get(_URI) == "null":
        remedy = f"Leave {_URI} away for the store of conf/tracking/mlflow.yaml."
        problems.append(Problem(_URI, "null", WANTED.removesuffix(", or null"), remedy))
    if problems:
        raise UserError(problems)
    return resolve(given.get(_URI) or _default_uri()), given.get(_EXPERIMENT), rest


def _default_uri() -> str:
    from omegaconf import OmegaConf

    return OmegaConf.load(CONF / "tracking" / "mlflow.yaml").uri


def _unquoted(value: str) -> str:
    """Hydra's grammar wants quotes around some addresses; people type them here too."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value
