"""Whether the final answer is mathematically the right one, by Math-Verify.

`1/2`, `0.5` and `\\frac{1}{2}` are one number, `x + 1` and `1 + x` one expression. Two guards stand
before the comparison, since a policy finds whatever is paid for: the answer must be *final*
(`rlexp.rewards.common.final_answer`: of several guesses none counts) and *evaluated*
(`rlexp.rewards.common.evaluated`: 28 + 96 is equal to 124, and no answer).
"""

from __future__ import annotations

import logging
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from rlexp.rewards.base import column_of, last_turn, texts_of, without_reasoning
from rlexp.rewards.common.evaluated import flat, is_evaluated
from rlexp.rewards.common.final_answer import (
    ends_with_mark,
    formula_in,
    marked_answers,
    stated_answer,
)
from rlexp.rewards.common.notation import bare_formula, plain_notation, plain_number
from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, RewardSpec, Text, Value

if TYPE_CHECKING:
    from sympy import Basic, MatrixBase

    Expression = Basic | MatrixBase | str

_CHOICE = re.compile(r"\W*(?:option|choice|answer)?\W*([A-J])(?:\W*|[).:]\W*\S.*)", re.DOTALL)
_ASSIGNED = re.compile(r"(?:[a-zA-Z]|[a-zA-Z]\(\w\))\s*(?:=|\\in(?![a-z]))\s*")

_TINY = 1e-6
_ENDS_IN_UNKNOWN = re.compile(r"[\d})][a-zA-Z]$")
_LISTED = re.compile(r"(?<=[\d)}$]),?\s+(?:or|and)\s+(?=(?:[a-z]\s*=\s*)?[-+\\$(\d])")
_IN_BRACKETS = re.compile(r"\(\s*([-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?)\s*\)")


class RightAnswer(NamedTuple):
    """The right answer of a row.

    Attributes:
        formula: alone, without units.
        values: what Math-Verify reads in it; empty where it cannot (12:30), and texts decide.
        is_choice: whether it is a letter of a multiple choice.
    """

    formula: str
    values: tuple[Expression, ...]
    is_choice: bool


class Math(RewardSpec):
    """1 where the final answer equals the column's and is evaluated, otherwise 0; empty scores 0.

    A row without an answer, or with one that is no mathematics, has no value.

    >>> exact = Math(name="math", column="answer", marked=False, timeout=5)
    >>> answers = ["9 x 2 = 18 #### 18.0", r"so \\boxed{18}", "9 + 9", "17 or 18", "18"]
    >>> exact(["What is 9 + 9?"] * 5, answers, answer=["9 + 9 = 18 #### 18", 18, "18", "18", None])
    [1.0, 1.0, 0.0, 0.0, None]
    """

    column: str
    """Data column with the right answer, alone or at the end of a solution."""
    marked: bool = False
    """Whether only an answer counts that is marked (`\\boxed{}`, `####`, `<answer>`, "the answer
    is") and ends the completion; otherwise the result of its last statement counts too."""
    timeout: int = Field(ge=1)
    """Seconds that an answer may take; one that takes longer is wrong. (In a thread, where no clock
    can interrupt it, there is no limit.)"""

    def problems(self) -> list[Problem]:
        return missing_packages("math_verify", "rewards", "reward")

    def columns(self) -> set[str]:
        return {self.column}

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def reference_column(self) -> str:
        return self.column

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: the data lacks the column.
        """
        questions = [last_turn(prompt, "user") for prompt in prompts]
        cells = column_of(columns, self.column)
        rows = zip(questions, texts_of(completions), cells, strict=True)
        return [self._value(prompt, text, cell) for prompt, text, cell in rows]

    def _value(self, prompt: str, text: str, cell: object) -> Value:
        seconds = self.timeout if _in_main_thread() else None
        reference = None if cell is None else _right_answer(str(cell), seconds)
        if reference is None:
            return None
        is_set = "," in reference.formula
        text = plain_notation(without_reasoning(text))
        answers = self._answers(_LISTED.sub(", ", text) if is_set else text, plain_notation(prompt))
        if len(answers) > 1 and is_set:  # one mark for each element
            answers = [", ".join(answers)]
        right = [_is_right(answer, reference, prompt, seconds) for answer in answers]
        return float(bool(right) and all(right))

    def _answers(self, text: str, prompt: str) -> list[str]:
        """Return the final answers of a text, each of which has to be right."""
        marked = marked_answers(text)
        if self.marked:
            return marked if ends_with_mark(text) else []
        if marked:
            return list(dict.fromkeys(marked))
        stated = stated_answer(text, prompt)
        return [] if stated is None else [stated]


@lru_cache(maxsize=4096)
def _right_answer(cell: str, seconds: int | None) -> RightAnswer | None:
    """Return the right answer in a cell; None where there is none that is mathematics."""
    text = plain_notation(cell).strip()
    if not text:
        return None
    marked = marked_answers(text)
    answer = marked[-1] if marked else text
    is_choice = _CHOICE.fullmatch(_choice_text(answer)) is not None
    formula = _ASSIGNED.sub("", bare_formula(formula_in(answer), has_letters=True), count=1)
    without_unit = bare_formula(formula, has_letters=False)
    if plain_number(without_unit) is not None and not _ENDS_IN_UNKNOWN.search(formula):
        formula = without_unit
    values = _parsed(formula, seconds)
    is_mathematics = bool(values) or re.search(r"\d", formula) is not None
    return RightAnswer(formula, values, is_choice) if is_mathematics else None


def _choice_text(text: str) -> str:
    return re.sub(r"\\(?:text|textbf|mathbf|mathrm|boxed)\s*|[{}$]", "", text).strip()


def _is_right(answer: str, reference: RightAnswer, prompt: str, seconds: int | None) -> bool:
    """Return whether one answer is evaluated and equals the reference."""
    if reference.is_choice:
        wanted = _CHOICE.fullmatch(_choice_text(reference.formula))
        chosen = _chosen(answer)
        return wanted is not None and chosen == {wanted[1]}
    has_letters = re.search(r"(?<![\\a-zA-Z])[a-zA-Z]", reference.formula) is not None
    stated = formula_in(answer)
    if "!" not in reference.formula:
        stated = stated.rstrip("! ")
    if plain_number(reference.formula):
        stated = _IN_BRACKETS.sub(r"\1", stated)  # a number in brackets, and no pair
    formula = bare_formula(stated, has_letters)
    for side in _sides(formula, "=" in reference.formula):
        if is_evaluated(side, reference.formula, prompt) and _equal(side, reference, seconds):
            return True
    return False


def _chosen(answer: str) -> set[str]:
    """Return the letters of a multiple choice that an answer names."""
    text = _choice_text(answer)
    if (whole := _CHOICE.fullmatch(text)) is not None:
        return {whole[1]}
    return set(re.findall(r"(?<![\w'])\(?([A-J])\)?(?![\w'’])(?!\s[a-z])", text))


def _sides(formula: str, is_equation: bool) -> list[str]:
    """Return what may be the result of a formula: the last side of an equation, and what it is
    about; none where sides that are worked out contradict each other."""
    if is_equation:
        return [formula]
    if len(_ASSIGNED.findall(formula)) > 1 and re.search(r"[,;]|\b(?:or|and)\b", formula):
        return [_ASSIGNED.sub("", formula)]
    exact, *approximate = re.split(r"\\approx|~", formula)
    sides = [side.strip() for side in re.split(r"(?<![<>!\\])=", _ASSIGNED.sub("", exact, count=1))]
    numbers = {number.value for side in sides if (number := plain_number(side)) is not None}
    if len(numbers) > 1:
        return []
    about = [plain_number(side.strip()) for side in approximate]
    near = all(
        number and abs(number.value - value) <= abs(value) / 50
        for number in about
        for value in numbers
    )
    return [sides[-1], *(side.strip() for side in approximate if near)]


def _equal(formula: str, reference: RightAnswer, seconds: int | None) -> bool:
    from math_verify import verify

    number, right = plain_number(formula), plain_number(reference.formula)
    if number and right:
        written = {number.value, right.value}
        if number.is_percentage != right.is_percentage:  # 72 % is 0.72, and is written as 72
            share = (number if number.is_percentage else right).value / 100
            return len(written) == 1 or share in written - {share * 100}
        if len(written) == 1:
            return True
    if flat(formula) == flat(reference.formula):
        return True
    values, gold = _parsed(formula, seconds), list(reference.values)
    if not values or not verify(gold, list(values), timeout_seconds=seconds):
        return False
    return _of_one_size(gold[0], values[0])


def _of_one_size(gold: Expression, value: Expression) -> bool:
    """Return False for two numbers that Math-Verify takes for equal because both are tiny."""
    if isinstance(gold, str) or isinstance(value, str):
        return True
    if not (getattr(gold, "is_number", False) and getattr(value, "is_number", False)):
        return True
    larger = max(abs(gold.evalf()), abs(value.evalf()))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue] - numbers
    return larger > _TINY or abs((gold - value).evalf()) <= _TINY * larger  # pyright: ignore[reportAttributeAccessIssue, reportOperatorIssue] - numbers


def _parsed(formula: str, seconds: int | None) -> tuple[Expression, ...]:
    """Return what Math-Verify reads in a formula; empty where that is no mathematics."""
    from math_verify import LatexExtractionConfig, parse

    if not formula.strip() or re.fullmatch(r"[^\W\d_]{2,}(?:\s+[^\W\d_]+)*", formula.strip()):
        return ()
    # LaTeX alone: of a formula that it cannot read it would otherwise take any number
    values = parse(
        f"${formula}$",
        [LatexExtractionConfig()],
        parsing_timeout=seconds,  # pyright: ignore[reportArgumentType] - None: no limit
    )
    return tuple(values) if any(not isinstance(value, str) for value in values) else ()


def _in_main_thread() -> bool:
    """Return whether math-verify has a clock here: a signal, which only the main thread gets."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main:  # it would warn that it has no clock for every answer
        logging.getLogger("math_verify").setLevel(logging.ERROR)
    return in_main
