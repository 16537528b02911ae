"""Whether a completion has a form, and the right answer in it.

The form is a regular expression; or tags, each once and in their order, as DeepSeek-R1 keeps its
reasoning from its answer (arXiv:2501.12948); or JSON, of a schema where one is given. With
`column`, the answer must equal the one in that column of the data: the pattern's first group, what
stands in the last tag, or a value of the JSON. This grades GSM8K, whose solutions end with
`#### 18` (Cobbe et al. 2021, arXiv:2110.14168); like there, the first match counts.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ValidationInfo, field_validator

from rlexp.rewards.base import column_of, texts_of
from rlexp.rewards.common import json_schema
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text, Value

FLAGS = {"ignorecase": re.IGNORECASE, "multiline": re.MULTILINE, "dotall": re.DOTALL}


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression of Python ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class FormMatch(NamedTuple):
    """A completion of the right form, by its answer, which is empty where it has none."""

    answer: str


class Format(RewardSpec):
    """`matched` where the form is right (and the answer too), otherwise `unmatched`.

    Answers are equal as numbers where both are numbers, commas, spaces and a leading $ left out,
    otherwise as texts without white space at both ends. An empty completion is judged like any
    other text. A row without an answer in `column` has no value.

    >>> knobs = dict(name="format", kind="pattern", pattern="#### (-?[0-9.,]+)", match="search",
    ...              flags=[], tags=["think", "answer"], json_schema=None, json_key=None,
    ...              matched=1.0, unmatched=0.0, column="answer", column_pattern=None)
    >>> graded = Format(**knobs)
    >>> graded(["How many?"] * 3, ["So #### 1,018.0", "#### 18", "1018"],
    ...        answer=["1000 + 18 #### 1018", "#### 1018", None])
    [1.0, 0.0, None]
    >>> tagged = Format(**{**knobs, "kind": "tags", "column": None})
    >>> tagged(["How many?"] * 2, ["<think>9 + 9</think> <answer>18</answer>", "<answer>18"])
    [1.0, 0.0]
    """

    kind: Literal["pattern", "tags", "json"]
    """The form that is wanted; the knobs of the other two say nothing."""
    pattern: Pattern
    """Regular expression (Python's `re`)."""
    match: Literal["search", "full"]
    """`search` finds it anywhere; `full` wants the whole completion, white space at both ends
    left out, to match."""
    flags: list[Literal["ignorecase", "multiline", "dotall"]]
    """Flags of the regular expressions."""
    tags: list[str]
    """Names of the tags; each must stand there once, closed and not empty, in this order, with
    nothing but white space outside."""
    json_schema: str | dict[str, Any] | None
    """JSON schema, or the path of a file with one; null takes any JSON. The completion must be JSON
    alone, in a code fence or not."""
    json_key: str | None
    """Key of the JSON object that holds the answer; null compares the whole value."""
    matched: float
    """Value when it matches."""
    unmatched: float
    """Value when it does not."""
    column: str | None
    """Data column that holds the right answer; null grades the form alone."""
    column_pattern: Pattern | None
    """Finds the answer in `column`, as its first group; null takes `pattern`, or with tags and JSON
    all of the column."""

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, tags: list[str], info: ValidationInfo) -> list[str]:
        wrong = [tag for tag in tags if not re.fullmatch(r"[\w-]+", tag)]
        repeated = [tag for tag in tags if tags.count(tag) > 1]
        if wrong or repeated or (not tags and info.data.get("kind") == "tags"):
            raise ValueError("different names, at least one, of letters, digits, - and _")
        return tags

    @field_validator("unmatched")
    @classmethod
    def _values_differ(cls, unmatched: float, info: ValidationInfo) -> float:
        if unmatched == info.data.get("matched"):
            raise ValueError("another value than `matched`: this reward would say nothing")
        return unmatched

    @field_validator("column")
    @classmethod
    def _pattern_has_group(cls, column: str | None, info: ValidationInfo) -> str | None:
        pattern = info.data.get("pattern") if info.data.get("kind") == "pattern" else None
        if column is not None and pattern is not None and not re.compile(pattern).groups:
            raise ValueError(f"null, or a pattern with a group (…) around the answer: {pattern}")
        return column

    @field_validator("column_pattern")
    @classmethod
    def _column_pattern_has_group(cls, pattern: str | None) -> str | None:
        if pattern is not None and not re.compile(pattern).groups:
            raise ValueError("null, or a pattern with a group (…) around the answer")
        return pattern

    def problems(self) -> list[Problem]:
        if self.kind != "json" or self.json_schema is None:
            return []
        return json_schema.problems(self.json_schema, "reward.json_schema")

    def code_files(self) -> list[Path]:
        schema = [Path(self.json_schema)] if isinstance(self.json_schema, str) else []
        return [*super().code_files(), *schema]

    def columns(self) -> set[str]:
        return {self.column} if self.column else set()

    def bounds(self) -> tuple[float, float]:
        return self.unmatched, self.matched

    def by_design(self) -> dict[StrategyKind, str]:
        if self.column is not None:
            return {}
        why = "the form alone is graded; reward.column names the right answer"
        return {"form": why, "answers": why}

    def empty_forms(self) -> list[str]:
        if self.kind == "tags":
            return ["\n".join(f"<{tag}>.</{tag}>" for tag in self.tags)]
        if self.kind == "json":
            return [json_schema.empty_value(self.json_schema)]
        return []

    def reference_column(self) -> str | None:
        """Return the column where all of a cell is an answer in the wanted form."""
        whole = {"pattern": self.column_pattern is None, "json": self.json_key is None}
        return self.column if whole.get(self.kind) else None

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        texts = texts_of(completions)
        if self.column is None:
            return [self._value(self._find(text) is not None) for text in texts]
        rows = zip(texts, column_of(columns, self.column), strict=True)
        return [None if cell is None else self._graded(text, cell) for text, cell in rows]

    def _graded(self, text: str, cell: object) -> float:
        right, match = self._right_answer(cell), self._find(text)
        return self._value(match is not None and _equal(match.answer, right))

    def _value(self, is_right: bool) -> float:
        return self.matched if is_right else self.unmatched

    def _find(self, text: str) -> FormMatch | None:
        if self.kind == "json":
            value = json_schema.parse_json(text, self.json_schema)
            if value is json_schema.NOT_JSON:
                return None
            return FormMatch(json_schema.value_text(value, self.json_key))
        regex = self._regex
        full = self.kind == "tags" or self.match == "full"
        match = regex.fullmatch(text.strip()) if full else regex.search(text)
        return FormMatch(match[regex.groups and 1] or "") if match else None

    def _right_answer(self, value: object) -> str:
        """Return the right answer in a cell of the column.

        Raises:
            UserError: the pattern does not find it there.
        """
        if self._column_regex is None:
            return json_schema.canonical_value(value) if self.kind == "json" else str(value)
        match = self._column_regex.search(str(value))
        if match is None:
            got = f"{str(value)[-80:]!r} in the column {self.column!r}"
            want = f"an answer that {self._column_regex.pattern!r} finds"
            remedy = "Set column_pattern to find it; '(.*)' takes all of the column."
            raise UserError(Problem("reward.column_pattern", got, want, remedy))
        return match[1] or ""

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        if self.kind == "tags":
            return re.compile(_tags_pattern(self.tags), re.DOTALL)
        return re.compile(self.pattern, sum(FLAGS[flag] for flag in set(self.flags)))

    @cached_property
    def _column_regex(self) -> re.Pattern[str] | None:
        pattern = self.column_pattern or (self.pattern if self.kind == "pattern" else None)
        flags = sum(FLAGS[flag] for flag in set(self.flags))
        return None if pattern is None else re.compile(pattern, flags)


def _tags_pattern(tags: list[str]) -> str:
    """Return a regular expression whose group is the last tag's content; tags do not nest."""
    names = "|".join(re.escape(tag) for tag in tags)
    inside = rf"(?!\s*</?(?:{names})>)(?:(?!</?(?:{names})>).)*"
    parts = [
        rf"<{re.escape(tag)}>{f'({inside})' if tag == tags[-1] else inside}</{re.escape(tag)}>"
        for tag in tags
    ]
    return r"\s*".join(parts)


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
