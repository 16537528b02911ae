"""One term called on some completions, and what becomes of those that it fails on.

The same function serves in the run's own process and in a worker, so that both give the same bits
and the same words.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.reward import Text, Value

CAUSE = "a text that the reward does not expect, such as an empty one"
REMEDY = (
    "mend the reward, so that it gives every completion a number; or set scoring.on_error=missing, "
    "which leaves such completions out"
)


@dataclass(frozen=True)
class Batch:
    """n completions with their prompts and the data's columns, one value a completion."""

    prompts: list[Text]
    completions: list[Text]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.completions)

    def part(self, start: int, stop: int) -> Batch:
        """The completions from `start` to before `stop`."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Batch(self.prompts[start:stop], self.completions[start:stop], columns)


@dataclass(frozen=True)
class Failure:
    """A completion that a term failed on.

    Attributes:
        index: its place in the batch.
        what: what the term did, as a verb.
        cause, remedy: in the words of the term, where it has its own.
    """

    index: int
    what: str
    cause: str = CAUSE
    remedy: str = REMEDY


@dataclass(frozen=True)
class TermResult:
    """What came of one call.

    Attributes:
        values: (n,), None where the term cannot tell or failed.
        failures: by rising index; only the first one where none is forgiven.
        seconds: that it took.
    """

    values: list[Value]
    failures: list[Failure]
    seconds: float

    def behind(self, start: int) -> TermResult:
        """The same as part of a batch in which so many completions stand before."""
        moved = [replace(each, index=each.index + start) for each in self.failures]
        return replace(self, failures=moved)


Function = Callable[..., Sequence[Value]]


def call(function: Function, batch: Batch, forgiving: bool) -> TermResult:
    """Score a batch; where that raises, each completion by itself, to find those that are to blame.

    Args:
        function: the term.
        batch: what it is called with.
        forgiving: whether to go on behind the first failure.

    Raises:
        UserError: the term finds a mistake of the user's.
        RunFailed: it raises for the batch and for none of the completions alone, or returns
            something else than n values.
    """
    began = time.perf_counter()
    try:
        values, failures = _checked(function(batch.prompts, batch.completions, **batch.columns))
    except UserError:
        raise
    except Exception as error:
        values, failures = _one_by_one(function, batch, forgiving)
        if not failures and isinstance(error, RunFailed):
            raise
        if not failures:
            together = f", for {len(batch)} completions together, though for none of them alone"
            raise RunFailed(error_text(error) + together, CAUSE, REMEDY) from error
    if len(values) != len(batch):
        raise RunFailed(
            f"returned {len(values)} values for {len(batch)} completions",
            "it leaves some out, or scores each prompt once",
            "return a list with one number (or None) for each completion",
        )
    return TermResult(values, failures, time.perf_counter() - began)


def _checked(values: Sequence[Any]) -> tuple[list[Value], list[Failure]]:
    """The values as floats; what is no finite number is a failure."""
    checked: list[Value] = []
    failures: list[Failure] = []
    for index, value in enumerate(values):
        try:
            text = isinstance(value, str | bytes)
            number = None if value is None else math.nan if text else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if number is not None and not math.isfinite(number):
            failures.append(Failure(index, f"gave {value!r}"))
            number = None
        checked.append(number)
    return checked, failures


def _one_by_one(
    function: Function, batch: Batch, forgiving: bool
) -> tuple[list[Value], list[Failure]]:
    values: list[Value] = [None] * len(batch)
    failures: list[Failure] = []
    for index in range(len(batch)):
        alone = batch.part(index, index + 1)
        try:
            found, wrong = _checked(function(alone.prompts, alone.completions, **alone.columns))
            values[index] = found[0]
            failures += [replace(each, index=index) for each in wrong]
        except UserError:
            raise
        except Exception as error:
            failures.append(Failure(index, error_text(error), _cause(error), _remedy(error)))
        if failures and not forgiving:
            break
    return values, failures


def error_text(error: Exception) -> str:
    """What an exception says and where it was raised; what a `RunFailed` says in its own words."""
    if isinstance(error, RunFailed):
        return error.what
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def _cause(error: Exception) -> str:
    return error.cause if isinstance(error, RunFailed) else CAUSE


def _remedy(error: Exception) -> str:
    return error.remedy if isinstance(error, RunFailed) else REMEDY


@contextmanager
def under_own_key(name: str) -> Iterator[None]:
    """Around what a named term does: its mistakes are reported under the term's own key."""
    try:
        yield
    except UserError as error:
        key = f"reward.terms.{name}" if name else "reward"
        raise UserError(problem.under(key) for problem in error.problems) from error
