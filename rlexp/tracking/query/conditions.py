"""Conditions on runs, and the words that stand for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from rlexp.runtime.paths import CONF
from rlexp.spec.errors import Problem, UserError
from rlexp.tracking.query.record import Record
from rlexp.tracking.store.read_only import FIRST_RUN

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")

_SHORTEST_BEGINNING = 4
_KEY = re.compile(r"[\w./: -]+")
_LABELS = {"peft": "kind"}
"""What a group's choice is called in parameters, where that is not `name`."""


@dataclass(frozen=True)
class RunFilter:
    """A condition that is true of a run or not."""

    place: Literal["attribute", "tag", "param"]
    key: str
    """Of attributes: `run_id`, `name` or `status`."""
    values: tuple[str, ...]
    """Of which it has one, or begins with one; with none of them the run lacks the tag or param."""
    is_prefix: bool = False

    @classmethod
    def filter(cls, word: str) -> RunFilter:
        """Return the condition that a word such as `algo=ppo` stands for.

        Raises `UserError` where it is no filter, or its status is none that MLflow knows.
        """
        key, _, value = word.partition("=")
        if not _KEY.fullmatch(key) or not value:
            wanted = "key=value: a parameter such as algo.beta, a group, status, name or tags.NAME"
            raise UserError(Problem(word, f"{key!r} and {value!r}", wanted))
        if key == "name":
            return by_name(value)
        if key == "status":
            if value.upper() not in STATUSES:
                near = get_close_matches(value.upper(), STATUSES, n=1, cutoff=0)[0]
                wanted, remedy = " or ".join(STATUSES), f"Did you mean {near}?"
                raise UserError(Problem("status", value, wanted, remedy))
            return cls("attribute", "status", (value.upper(),))
        if key.startswith("tags."):
            return cls("tag", key.removeprefix("tags."), (value,))
        if (CONF / key).is_dir():
            key = f"{key}.{_LABELS.get(key, 'name')}"
        return cls("param", key, _spellings(value))

    def value_of(self, record: Record) -> str | None:
        """Return what a run has in the place where this looks."""
        if self.place == "attribute":
            return getattr(record, self.key)
        return (record.tags if self.place == "tag" else record.params).get(self.key)

    def fits(self, record: Record) -> bool:
        """Whether it is true of a run."""
        value = self.value_of(record)
        if value is None or not self.values:
            return value is None and not self.values
        return value.startswith(self.values) if self.is_prefix else value in self.values

    def __str__(self) -> str:
        return f"{'tags.' if self.place == 'tag' else ''}{self.key}={self.values[0]}"


def by_name(name: str) -> RunFilter:
    """Return the condition that runs have this name."""
    return RunFilter("attribute", "name", (name,))


def by_id(run_id: str, *, is_prefix: bool = False) -> RunFilter:
    """Return the condition that a run has this id, or one that begins so."""
    return RunFilter("attribute", "run_id", (run_id,), is_prefix)


def by_tag(tag: str, *values: str, is_prefix: bool = False) -> RunFilter:
    """Return the condition that a tag has one of these values; without values, that it lacks."""
    return RunFilter("tag", tag, values, is_prefix)


def is_id_prefix(word: str) -> bool:
    """Whether a word can be the beginning of a run's id."""
    return re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_BEGINNING},32}}", word) is not None


def no_such_run(word: str, records: Sequence[Record]) -> Problem:
    """Return what is wrong with a word that names no run, given the runs that there are."""
    if not records:
        return Problem(word, "no such run", "a run, but there is none here yet", FIRST_RUN)
    if "=" in word:
        asked = RunFilter.filter(word)
        values = {value for record in records if (value := asked.value_of(record)) is not None}
        if values:
            key, _, value = str(asked).partition("=")
            return Problem(key, value, f"what runs here have: {_listed(sorted(values))}")
        keys = {"status", "name", *(key for record in records for key in record.params)}
        near = get_close_matches(asked.key, sorted(keys), n=1, cutoff=0)[0]
        return Problem(word, "nothing that runs have", "a parameter", f"Did you mean {near}=…?")
    names = list(dict.fromkeys(record.name for record in records))
    near = get_close_matches(word, names, n=3, cutoff=0.4)
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"The newest: {_listed(names)}"
    wanted = "a run's id, name or folder, a sweep, or a filter such as algo=ppo"
    return Problem(word, "no such run", wanted, remedy)


def _spellings(value: str) -> tuple[str, ...]:
    """Return how MLflow may spell a value.

    It keeps `str(value)`: 1.0, 0.001 and True for what people type as 1, 1e-3 and true.
    """
    spellings = [value]
    with suppress(ValueError):
        spellings.append(str(int(value)))
    with suppress(ValueError):
        spellings.append(str(float(value)))
    if value in ("true", "false"):
        spellings.append(value.capitalize())
    return tuple(dict.fromkeys(spellings))


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(values[:8])
    return f"{shown}, …" if len(values) > 8 else shown
