"""What of a completion is handed to a scorer that somebody else has written, and what never is.

Some scorers of reasoning-gym evaluate the answer as Python or hand it to SymPy, which does. The
sandbox keeps such text from the machine, but not from the scorer: a policy that hit upon a program
could have it print its own score. So they are given formulas and lists alone, told by their syntax.
"""

from __future__ import annotations

import ast
import re

from rlexp.rewards.base import without_reasoning

EVALUATES = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
"""Tasks whose scorers evaluate an answer that is an expression of Python."""
PARSES = frozenset(
    {
        "countdown",
        "intermediate_integration",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
    }
)
"""Tasks whose scorers have SymPy parse the answer, which rewrites and evaluates any text."""

_BLOCK = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_NO_NUMBER = re.compile(r"\b(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_NAMES = """sqrt exp log ln sin cos tan sec csc cot sinh cosh tanh asin acos atan asinh acosh atanh
Abs Rational Integer"""
_FUNCTIONS = frozenset(_NAMES.split())
_LISTS = (ast.Expression, ast.List, ast.Tuple, ast.Constant, ast.Load)
_FORMULAS = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Call, ast.Constant, ast.Load),
    *(ast.List, ast.Tuple, ast.operator, ast.unaryop),
)
_LONGEST_NAME = 8


def final_answer(text: str) -> str:
    """Return the answer in a completion: what stands in its `<answer>` block, or all of it.

    The reasoning is left out; of several blocks none counts.

    >>> final_answer("<think>3 + 4</think> 7 "), final_answer("So <answer> 7</answer>.")
    ('7', '7')
    >>> final_answer("<answer>7</answer> or <answer>8</answer>")
    ''
    """
    text = without_reasoning(text)
    blocks = _BLOCK.findall(text)
    if len(blocks) > 1:
        return ""
    return (blocks[0] if blocks else text).strip()


def may_be_scored(answer: str, task: str, right: str | None) -> bool:
    """Return whether a task's scorer is to see an answer; one that it is not to see is wrong.

    Args:
        answer: as `final_answer` gives it.
        task: its name in the package.
        right: the right answer; None where the task gives none.

    >>> may_be_scored("3 * (7 + 1)", "puzzle24", "24"), may_be_scored("exit(0)", "puzzle24", "24")
    (True, False)
    >>> may_be_scored("nan", "complex_arithmetic", "1 + 2i")
    False
    """
    if answer == right:
        return True
    if not answer or _NO_NUMBER.search(answer):
        return False
    if task not in EVALUATES | PARSES:
        return True
    try:
        tree = ast.parse(answer, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return task in EVALUATES  # which is compared as a text then, and cannot be evaluated
    nodes = [*ast.walk(tree)]
    if all(isinstance(node, _LISTS) for node in nodes):
        return True
    return all(isinstance(node, _FORMULAS) and _is_plain(node) for node in nodes)


def _is_plain(node: ast.AST) -> bool:
    """Return whether a part of a formula is a number, a short name or a known function of such."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float | complex)
    if isinstance(node, ast.Name):
        return len(node.id) <= _LONGEST_NAME and "_" not in node.id
    if isinstance(node, ast.Call):
        is_known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        return is_known and not node.keywords
    return True
