"""Whether a completion has a form, given as a regular expression, and the right answer in it.

With `column`, what the pattern's first group finds in the completion must equal what it finds in
that column of the data. This grades GSM8K, whose solutions end with `#### 18` (Cobbe et al. 2021,
arXiv:2110.14168); like there, the first match counts.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from rlexp.rewards.base import texts_of
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import RewardSpec, Text

FLAGS = {"ignorecase": re.IGNORECASE, "multiline": re.MULTILINE, "dotall": re.DOTALL}


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression of Python ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class Format(RewardSpec):
    """`matched` where the pattern matches (and the answer is right), otherwise `unmatched`.

    Answers are equal as numbers where both are numbers, commas, spaces and a leading $ left out,
    otherwise as texts without white space at both ends. An empty completion is matched like any
    other text.

    >>> graded = Format(name="format", pattern=r"#### (-?[0-9.,]+)", match="search", flags=[],
    ...                 matched=1.0, unmatched=0.0, column="answer", column_pattern=None)
    >>> graded(["How many?"] * 3, ["So #### 1,018.0", "#### 18", "1018"],
    ...        answer=["1000 + 18 #### 1018"] * 3)
    [1.0, 0.0, 0.0]
    """

    pattern: Pattern
    """Regular expression (Python's `re`)."""
    match: Literal["search", "full"]
    """`search` finds it anywhere; `full` wants the whole completion, white space at both ends
    left out, to match."""
    flags: list[Literal["ignorecase", "multiline", "dotall"]]
    """Flags of the regular expressions."""
    matched: float
    """Value when it matches."""
    unmatched: float
    """Value when it does not."""
    column: str | None
    """Data column that holds the right answer; null grades the form alone."""
    column_pattern: Pattern | None
    """Finds the answer in `column`, as its first group; null takes `pattern`."""

    @field_validator("unmatched")
    @classmethod
    def _values_differ(cls, unmatched: float, info: ValidationInfo) -> float:
        if unmatched == info.data.get("matched"):
            raise ValueError("another value than `matched`: this reward would say nothing")
        return unmatched

    @field_validator("column")
    @classmethod
    def _pattern_has_group(cls, column: str | None, info: ValidationInfo) -> str | None:
        pattern = info.data.get("pattern")
        if column is not None and pattern is not None and not re.compile(pattern).groups:
            raise ValueError(f"null, or a pattern with a group (…) around the answer: {pattern}")
        return column

    @field_validator("column_pattern")
    @classmethod
    def _column_pattern_has_group(cls, pattern: str | None) -> str | None:
        if pattern is not None and not re.compile(pattern).groups:
            raise ValueError("null, or a pattern with a group (…) around the answer")
        return pattern

    def columns(self) -> set[str]:
        return {self.column} if self.column else set()

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        found = [self._find(text) for text in texts_of(completions)]
        if self.column is None:
            right = [match is not None for match in found]
        else:
            answers = [self._answer(value) for value in _column(self.column, columns)]
            right = [
                match is not None and _equal(match[1] or "", answer)
                for match, answer in zip(found, answers, strict=True)
            ]
        return [self.matched if is_right else self.unmatched for is_right in right]

    def _find(self, text: str) -> re.Match[str] | None:
        if self.match == "full":
            return self._regex.fullmatch(text.strip())
        return self._regex.search(text)

    def _answer(self, value: Any) -> str:
        match = self._column_regex.search(str(value))
        if match is None:
            got = f"{str(value)[-80:]!r} in the column {self.column!r}"
            want = f"an answer that {self._column_regex.pattern!r} finds"
            remedy = "Set column_pattern to find it; '(.*)' takes all of the column."
            raise UserError(Problem("reward.column_pattern", got, want, remedy))
        return match[1] or ""

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.pattern, sum(FLAGS[flag] for flag in set(self.flags)))

    @cached_property
    def _column_regex(self) -> re.Pattern[str]:
        flags = sum(FLAGS[flag] for flag in set(self.flags))
        return re.compile(self.column_pattern or self.pattern, flags)


def _column(name: str, columns: dict[str, list[Any]]) -> list[Any]:
    if name not in columns:
        want = f"a column of the data ({', '.join(sorted(columns)) or 'it has no extra ones'})"
        raise UserError(Problem("reward.column", name, want))
    return columns[name]


def _equal(answer: str, right: str) -> bool:
    numbers = _number(answer), _number(right)
    if None in numbers:
        return answer.strip() == right.strip()
    return numbers[0] == numbers[1]


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(re.sub(r"[\s,]", "", text).removeprefix("$"))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
