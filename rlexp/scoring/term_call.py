"""One term called on some completions, and what becomes of those that it fails on.

The same function serves in the run's own process and in a worker, so that both give the same bits
and the same words.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import SupportsFloat

from rlexp.spec.errors import RunFailed, UserError
from rlexp.spec.reward import DataColumns, Text, Value

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
    columns: DataColumns

    def __len__(self) -> int:
        return len(self.completions)

    def part(self, start: int, stop: int) -> Batch:
        """Return the completions from `start` to before `stop`."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Batch(self.prompts[start:stop], self.completions[start:stop], columns)


@dataclass(frozen=True)
class Failure:
    """A completion, by its place in the batch, that a term failed on: what it did, as a verb."""

    index: int
    what: str
    cause: str = CAUSE
    remedy: str = REMEDY


@dataclass(frozen=True)
class TermResult:
    """The values (n,) of a call of a term, None where missing, its failures and seconds."""

    values: list[Value]
    failures: list[Failure]
    seconds: float

    def offset_by(self, start: int) -> TermResult:
        """Return the result as part of a batch in which so many completions stand before."""
        failures = [replace(failure, index=failure.index + start) for failure in self.failures]
        return replace(self, failures=failures)


TermFunction = Callable[..., Sequence[Value]]


def call(function: TermFunction, batch: Batch, allow_missing: bool) -> TermResult:
    """Score a batch; where that raises, each completion by itself, to find those that are to blame,
    up to the first failure unless missing values are allowed.

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
        values, failures = _one_by_one(function, batch, allow_missing)
        if not failures and isinstance(error, RunFailed):
            raise
        if not failures:
            scope = f", for {len(batch)} completions together, though for none of them alone"
            raise RunFailed(error_text(error) + scope, CAUSE, REMEDY) from error
    if len(values) != len(batch):
        raise RunFailed(
            f"returned {len(values)} values for {len(batch)} completions",
            "it leaves some out, or scores each prompt once",
            "return a list with one number (or None) for each completion",
        )
    return TermResult(values, failures, time.perf_counter() - began)


def _checked(values: Sequence[SupportsFloat | str | None]) -> tuple[list[Value], list[Failure]]:
    """Return the values as floats; what is no finite number is a failure."""
    checked: list[Value] = []
    failures: list[Failure] = []
    for index, value in enumerate(values):
        try:
            is_text = isinstance(value, str | bytes)  # float("3") would pass for a number
            number = None if value is None else math.nan if is_text else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if number is not None and not math.isfinite(number):
            failures.append(Failure(index, f"gave {value!r}"))
            number = None
        checked.append(number)
    return checked, failures


def _one_by_one(
    function: TermFunction, batch: Batch, allow_missing: bool
) -> tuple[list[Value], list[Failure]]:
    values: list[Value] = [None] * len(batch)
    failures: list[Failure] = []
    for index in range(len(batch)):
        alone = batch.part(index, index + 1)
        try:
            checked, wrong = _checked(function(alone.prompts, alone.completions, **alone.columns))
            values[index] = checked[0]
            failures += [replace(failure, index=index) for failure in wrong]
        except UserError:
            raise
        except Exception as error:
            own = (error.cause, error.remedy) if isinstance(error, RunFailed) else ()
            failures.append(Failure(index, error_text(error), *own))
        if failures and not allow_missing:
            break
    return values, failures


def join_results(parts: Iterable[tuple[int, TermResult]]) -> TermResult:
    """Return the result of a batch from those of its parts, each with its first place in it."""
    results = [result.offset_by(start) for start, result in parts]
    return TermResult(
        [value for result in results for value in result.values],
        [failure for result in results for failure in result.failures],
        sum(result.seconds for result in results),
    )


def error_text(error: Exception) -> str:
    """Say what was raised and where; of a `RunFailed`, in its own words."""
    if isinstance(error, RunFailed):
        return error.what
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


@contextmanager
def under_own_key(name: str) -> Iterator[None]:
    """Report the mistakes of a named term under the term's own key."""
    try:
        yield
    except UserError as error:
        key = f"reward.terms.{name}" if name else "reward"
        raise UserError(problem.under(key) for problem in error.problems) from error
