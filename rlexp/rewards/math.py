"""Whether an answer is mathematically the right one, by math-verify.

`1/2`, `0.5` and `\\frac{1}{2}` are one number, `x + 1` and `1 + x` one expression. The answer of a
text is what follows its first `####` (GSM8K's form, Cobbe et al. 2021, arXiv:2110.14168); without
one, what math-verify finds: a `\\boxed{…}`, what follows "the answer is", or the last expression;
of several boxes all, so that a list of guesses is wrong.
"""

from __future__ import annotations

import logging
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import Field

from rlexp.rewards.base import column_of, texts_of
from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, RewardSpec, Text, Value
from rlexp.spec.text import UNSPACED

if TYPE_CHECKING:
    from sympy import Basic, MatrixBase

    Expression = Basic | MatrixBase | str

MARK = "####"
_PROSE = re.compile(r"(?<!\\)(?<![^\W\d_])[^\W\d_]{3,}")
"""A word: three letters that are no command of LaTeX."""
_IS_MARKED = re.compile(r"\$|\\boxed|\\\(|\\\[")
_OTHER_NOTATION = [
    (re.compile(rf"[{UNSPACED}。：]+"), " "),
    (re.compile("−"), "-"),
    (re.compile("，"), ","),
]
"""What would keep math-verify from seeing a number's ends, or its sign."""


class Math(RewardSpec):
    """1 where the answer equals the column's, otherwise 0; an empty completion scores 0.

    A row without an answer, or with one that is no mathematics, has no value.

    >>> exact = Math(name="math", column="answer", timeout=5)
    >>> answers = ["9 x 2 = 18 #### 18.0", r"so \\boxed{\\frac{36}{2}}", "17", "18"]
    >>> exact(["How many?"] * 4, answers, answer=["9 + 9 = 18 #### 18", "18", "18", None])
    [1.0, 1.0, 0.0, None]
    """

    column: str
    """Data column with the right answer, alone or at the end of a solution."""
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
        rows = zip(texts_of(completions), column_of(columns, self.column), strict=True)
        return [self._value(text, right) for text, right in rows]

    def _value(self, text: str, right: object) -> Value:
        from math_verify import verify

        seconds = self.timeout if _in_main_thread() else None
        gold = () if right is None else _parsed_gold(str(right), seconds)
        if not gold:
            return None
        answer = _parsed(text, seconds)
        return float(bool(answer) and verify(list(gold), list(answer), timeout_seconds=seconds))


@lru_cache(maxsize=4096)
def _parsed_gold(right: str, seconds: int | None) -> tuple[Expression, ...]:
    return _parsed(right, seconds)


def _parsed(text: str, seconds: int | None) -> tuple[Expression, ...]:
    """Return what math-verify reads in a text's answer; empty where that is no mathematics."""
    from math_verify import parse

    _, mark, after = text.partition(MARK)
    answer = (after.strip().split("\n")[0] if mark else text).strip()
    for pattern, replacement in _OTHER_NOTATION:
        answer = pattern.sub(replacement, answer)
    if answer and not (_PROSE.search(answer) or _IS_MARKED.search(answer)):
        answer = f"${answer.removesuffix('.')}$"  # a formula alone is read whole only as LaTeX
    values = parse(answer, parsing_timeout=seconds)  # pyright: ignore[reportArgumentType] - None: no limit
    return tuple(values) if any(not isinstance(value, str) for value in values) else ()


def _in_main_thread() -> bool:
    """Return whether math-verify has a clock here: a signal, which only the main thread gets."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main:  # it would warn that it has no clock for every answer
        logging.getLogger("math_verify").setLevel(logging.ERROR)
    return in_main
