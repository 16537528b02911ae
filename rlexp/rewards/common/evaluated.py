"""Whether an answer is worked out as far as the reference is.

An equal expression is no answer by itself: `28 + 96` equals 124, and whoever writes it has copied
the question. What an answer may leave to be computed is therefore measured against the reference:
nothing where that is a number, and about as many operations of the same kinds where it is a closed
form. An operation between two numbers that the reference lacks is never allowed, nor one that the
prompt contains.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rlexp.rewards.common.notation import plain_notation, plain_number, without_delimiters

_FUNCTIONS = re.compile(
    r"\\?(?<![a-zA-Z])(?:arc)?(?:sinh?|cosh?|tanh?|cot|sec|csc|log|ln|gcd|lcm|max|min|det|bmod|mod)"
    r"(?![a-z])|\\(?:sum|int|prod|lim|d?binom|lfloor|lceil|Re|Im|pmod)(?![a-z])|!|\||\\div"
)
_NUMBER = (
    r"(?:\\frac\s*\{-?\d+\}\s*\{\d+\}|(?<![\d./])\d+/\d+(?![\d./])"
    r"|[\d.]+\s*(?:\\times|\\cdot|\*)\s*10\^\{?-?\d+\}?)"
)
_FRACTION = re.compile(r"\\frac\s*(\{(?:[^{}]|\{[^{}]*\})*\}|\w)\s*(\{(?:[^{}]|\{[^{}]*\})*\}|\w)")
_ARITHMETIC = re.compile(
    r"(?<=\d)[-+*/](?=\d)|[-+](?=0(?![.\d]))|[*/^](?=1(?![.\d]))|(?<![\w.)])(?:0(?=\+)|1(?=\*))"
)
_OPERATION = re.compile(
    r"(?<=[\w)\]%!])[-+]|[-+](?=[-+(])|/|\^(?!\\circ|circ)|sqrt|(?<=[\d)])\*(?=[\d(])|(?<=[\d)])\((?=[\d(-])|\)(?=\d)"
)
_CONSTANT = re.compile(r"\\pi|(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])|\\[a-z]+")


class Work(NamedTuple):
    """What a formula leaves to be computed.

    Attributes:
        operations: all of them, but products with a letter.
        arithmetic: those between two numbers, and those that change nothing, as + 0.
        functions: names of functions that it applies.
    """

    operations: int
    arithmetic: int
    functions: frozenset[str]


def work_left(formula: str) -> Work:
    """Return what a formula leaves to be computed; numbers that are written out leave nothing.

    >>> work_left("28 + 96").arithmetic, work_left("1/2").operations, work_left("x + 1").operations
    (1, 0, 1)
    """
    linear = flat(formula)
    functions = frozenset(name.strip("\\") for name in _FUNCTIONS.findall(formula))
    side_by_side = 0 if plain_number(formula) else len(re.findall(r"\d\s+(?=\d)", formula))
    operations = len(_OPERATION.findall(linear)) + len(_FUNCTIONS.findall(formula)) + side_by_side
    return Work(operations, len(_ARITHMETIC.findall(linear)) + side_by_side, functions)


def flat(formula: str) -> str:
    """Return a formula on one line, without spaces and braces; numbers become digits."""
    text = re.sub(_NUMBER, _as_digits, formula)
    while (fraction := _FRACTION.search(text)) is not None:
        above, below = (_grouped(part) for part in fraction.groups())
        text = f"{text[: fraction.start()]}{above}/{below}{text[fraction.end() :]}"
    text = re.sub(r"\\(?:times|cdot)(?![a-z])", "*", text)
    return re.sub(r"[\s{}]|\\(?=sqrt)", "", text)


def _as_digits(number: re.Match[str]) -> str:
    return number[0] if plain_number(number[0]) is None else "7"


def _grouped(part: str) -> str:
    inner = part.strip("{}").strip()
    return inner if re.fullmatch(r"\w+", inner) else f"({inner})"


def is_evaluated(answer: str, reference: str, prompt: str) -> bool:
    """Return whether an answer leaves no more to be computed than the reference does.

    Args:
        answer, reference: formulas that are equal.
        prompt: in which an expression is part of the question.

    >>> is_evaluated("124", "124", ""), is_evaluated("28 + 96", "124", "")
    (True, False)
    >>> is_evaluated(r"\\frac{1}{\\sqrt{2}}", r"\\sqrt{2}/2", ""), is_evaluated("1+x", "x+1", "")
    (True, True)
    """
    if plain_number(answer) is not None:
        return True
    left, allowed = work_left(answer), work_left(reference)
    if left.operations == left.arithmetic == 0:
        return True
    if left.arithmetic > allowed.arithmetic or not left.functions <= allowed.functions:
        return False
    if left.operations > _most_operations(reference, allowed):
        return False
    asked = flat(without_delimiters(plain_notation(prompt)))
    return flat(answer) == flat(reference) or flat(answer) not in asked


def _most_operations(reference: str, allowed: Work) -> int:
    """Return how many operations an equal form of the reference may have."""
    unknowns = set(re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", reference)) - {"e", "i"}
    if unknowns:
        return 2 * allowed.operations + 2
    return allowed.operations + (1 if allowed.operations or _CONSTANT.search(reference) else 0)
