"""What rlexp says when something is wrong, and with which exit status."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_SUFFIXES = r"(?:csv|tsv|txt|jsonl?|parquet|yaml|py)\b"


@dataclass(frozen=True)
class Problem:
    """One thing that a user can put right.

    `key` is the full path of a config key (`algo.beta`) or a place in a file (`pairs.jsonl:17`).
    """

    key: str
    got: str
    want: str
    remedy: str = ""

    def __str__(self) -> str:
        lines = [f"{self.key}: got {self.got}", f"    wants {self.want}"]
        if self.remedy:
            lines.append(f"    {self.remedy}")
        return "\n".join(lines)

    def under(self, key: str, own: str = "reward") -> Problem:
        """Return the same for a part that stands at `key`, and believes that it stands at `own`.

        Places and names of files stay, also where they hold the word: `data/rows.csv:3`, data.csv.

        >>> Problem("data.path", "nothing", "a file", "Set data.path=data.csv").under(
        ...     "data.sources.chat", "data"
        ... )
        Problem(key='data.sources.chat.path', got='nothing', want='a file', remedy='Set \
data.sources.chat.path=data.csv')
        """
        stands_there = self.key == own or self.key.startswith(f"{own}.")
        own_key = f"{key}{self.key.removeprefix(own)}" if stands_there else self.key
        return replace(self, key=own_key, remedy=with_keys_under(key, own, self.remedy))


def with_keys_under(key: str, own: str, text: str) -> str:
    """Return a text in which the keys below `own` are those below `key`.

    >>> with_keys_under("data.sources.chat", "data", "data.labels, of data/rows.csv or data.csv")
    'data.sources.chat.labels, of data/rows.csv or data.csv'
    """
    return re.sub(rf"(?<![\w./-]){own}\.(?!{_SUFFIXES})(?=\w)", f"{key}.", text)


class UserError(Exception):
    """Mistakes in what the user gave: all that were found, each with its remedy. Exit status 2."""

    exit_status = 2

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        several = [problems] if isinstance(problems, Problem) else problems
        self.problems = tuple(dict.fromkeys(several))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[UserError], tuple[tuple[Problem, ...]]]:
        # A launcher sends exceptions between processes; the default would rebuild from the message.
        return type(self), (self.problems,)


class RunFailed(Exception):
    """A run that began well and ended badly. Exit status 1.

    Args:
        what: what happened, with the step where there was one.
        cause: the likely cause.
        remedy: the knob to turn.
    """

    exit_status = 1

    def __init__(self, what: str, cause: str, remedy: str) -> None:
        self.what, self.cause, self.remedy = what, cause, remedy
        super().__init__(f"{what}\n    likely cause: {cause}\n    {remedy}")

    def __reduce__(self) -> tuple[type[RunFailed], tuple[str, str, str]]:
        return type(self), (self.what, self.cause, self.remedy)


class Pruned(Exception):
    """A trial of a sweep that its pruner has given up: it has ended as it should."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"pruned at step {step}")

    def __reduce__(self) -> tuple[type[Pruned], tuple[int]]:
        return type(self), (self.step,)


Problems = list[Problem]
