"""Whether a completion names the right one of several answers, and none of the others.

For questions that are answered by a word out of a few (a colour, a weekday, one of two names), also
by models that answer in sentences. What is named is found as `reward=keyword` finds its phrases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pydantic import ValidationInfo, field_validator

from rlexp.rewards.base import column_of, last_turn, texts_of, without_reasoning
from rlexp.rewards.keyword import folded, phrase_pattern
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, DataColumns, RewardSpec, Text, Value

_CLAUSE = re.compile(r"[.,;:!?\n]+")


class OneOf(RewardSpec):
    """1 where the right answer is named and no other one, otherwise 0; empty scores 0.

    So a list of all answers earns nothing; nor does an echo: what stands in the prompt word for
    word, in more than one word, is left out, as reasoning is. A row without an answer has no value.

    >>> named = OneOf(name="one_of", column="answer", choices=["red", "blue"], choices_column=None)
    >>> texts = ["It is Red.", "red or blue", "a reddish one", "A red hat."]
    >>> named(["Tom has a red hat. Which colour?"] * 4, texts, answer=["red"] * 4)
    [1.0, 0.0, 0.0, 0.0]
    """

    column: str
    """Data column with the right answer, one of the choices."""
    choices: list[str] | None
    """The answers that there are, for all rows; null takes each row's from `choices_column`."""
    choices_column: str | None
    """Data column with a list of the answers that each row has."""

    @field_validator("choices_column")
    @classmethod
    def _known_one_way(cls, column: str | None, info: ValidationInfo) -> str | None:
        if "choices" in info.data and (info.data["choices"] is None) == (column is None):
            raise ValueError("a column, or null with a list in `choices`: one of the two")
        return column

    def columns(self) -> set[str]:
        return {self.column, *filter(None, [self.choices_column])}

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def reference_column(self) -> str:
        return self.column

    def row_problems(self, columns: DataColumns) -> list[tuple[int, Problem]]:
        """Return answers that are none of their row's choices, or the only one."""
        return [
            (index, _unfit(answer, choices))
            for index, (answer, choices) in enumerate(self._rows(columns))
            if answer is not None and (len(choices) < 2 or str(answer) not in choices)
        ]

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: the data lacks a column.
        """
        questions = [last_turn(prompt, "user") for prompt in prompts]
        rows = zip(questions, texts_of(completions), self._rows(columns), strict=True)
        return [
            None if answer is None else float(_named(text, prompt, choices) == {_key(str(answer))})
            for prompt, text, (answer, choices) in rows
        ]

    def _rows(self, columns: DataColumns) -> list[tuple[object, list[str]]]:
        """Return each row's right answer and its choices."""
        answers = column_of(columns, self.column)
        if self.choices_column is None:
            return [(answer, self.choices or []) for answer in answers]
        lists = column_of(columns, self.choices_column, "reward.choices_column")
        return [(a, [*map(str, several or [])]) for a, several in zip(answers, lists, strict=True)]


def _named(text: str, prompt: str, choices: Iterable[str]) -> set[str]:
    """Return those of the choices that a text names of its own."""
    own = _without_echo(folded(without_reasoning(text)), _key(prompt))
    return {_key(match) for match in _pattern(tuple(choices)).findall(own)}


def _without_echo(text: str, prompt: str) -> str:
    """Return a text without its clauses of two words or more that stand in the prompt."""
    clauses = (clause.strip() for clause in _CLAUSE.split(text))
    return "\n".join(c for c in clauses if " " not in c or _key(c) not in prompt)


@lru_cache(maxsize=4096)
def _pattern(choices: tuple[str, ...]) -> re.Pattern[str]:
    return phrase_pattern(choices)


def _key(phrase: str) -> str:
    return " ".join(folded(phrase).casefold().split())


def _unfit(answer: object, choices: list[str]) -> Problem:
    got = f"{str(answer)!r:.60}, where the choices are {', '.join(choices) or 'none'}"
    remedy = "Mend the row, or list all answers in reward.choices or its column."
    return Problem("reward.column", got, "one of at least two choices", remedy)
