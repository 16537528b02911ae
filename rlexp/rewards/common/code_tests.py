"""Tests of programs, read from the forms in which data sets keep them.

A column may hold, for each row,

- Python sources, most often one `assert` each, as in MBPP's `test_list` (Austin et al. 2021,
  arXiv:2108.07732), or HumanEval's `def check(candidate)` (Chen et al. 2021, arXiv:2107.03374);
  also pytest's functions and unittest's classes;
- pairs of standard input and expected output: `[["3\\n", "9\\n"], …]`, or APPS' form
  `{"inputs": […], "outputs": […]}` (Hendrycks et al. 2021, arXiv:2105.09938);
- the same with a function's name (`fn_name`), whose arguments and value they are, and
  LiveCodeBench's `{"input", "output", "testtype"}` (Jain et al. 2024, arXiv:2403.07974);

or any of these as JSON or as Python prints it, in a dictionary of one list or not.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

from rlexp.rewards.common.assert_sources import SourceRefused, runnable
from rlexp.sandbox.pool import Asserts, Prints, Test
from rlexp.spec.errors import Problem, UserError

_FORMS = (
    "tests: sources with asserts, [input, output] pairs, {inputs, outputs} or "
    "[{input, output, testtype}]"
)
_LISTS = ("test_list", "test_cases", "tests", "assert_case", "testcases")
"""Names under which a dictionary may hold its tests."""
_FUNCTION_KEYS = ("fn_name", "func_name", "entry_point", "function_name")
_CALLED = {"functional", "function_call", "call_based"}
"""How data sets say that input and output are a function's."""
_CALL = """
def as_lists(value):
    if isinstance(value, (list, tuple)):
        return [as_lists(item) for item in value]
    return value
def gives(arguments, named):
    return as_lists({function}(*arguments, **named)) in {expected!r}
def attempts():
    for given in {alternatives!r}:
        try:
            yield gives(*given)
        except Exception:
            pass
assert any(attempts()), "it gives another value"
"""


class _Unknown(Exception):
    """Tests of no form that is known; the text says what is wrong."""


def read_tests(
    value: object, column: str, entry_point: object = None, setup: str = ""
) -> tuple[Test, ...]:
    """Return the tests of a row; none for null, "" and [].

    Args:
        value: the cell of the row.
        column: the column's name.
        entry_point: what names the function that is tested: its name, or a dictionary (or its JSON)
            that has it; None where the data does not say.
        setup: source that stands before the tests.

    Raises:
        UserError: they have no form that is known, or cannot fail.
    """
    try:
        return tuple(_tests_in(_decoded(value), _function_name(entry_point), setup))
    except (_Unknown, SourceRefused) as error:
        reason = f", {error}" if str(error) else ""
        shown = f"{_shortened(value)} in the column {column!r}{reason}"
        want, remedy = _FORMS, ""
        if isinstance(error, SourceRefused):
            want, remedy = "tests that a wrong program fails", error.remedy
        raise UserError(Problem("reward.column", shown, want, remedy)) from None


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 90 else f"{text[:87]}…{text[-1]}"


def _decoded(value: object) -> object:
    """Return what a text holds as JSON or as Python prints it, otherwise the text in a list."""
    if not isinstance(value, str):
        return value.tolist() if hasattr(value, "tolist") else value  # pyright: ignore[reportAttributeAccessIssue] - an array's
    try:
        decoded = json.loads(value)
    except ValueError:
        decoded = _printed(value)
    if not isinstance(decoded, str):
        return decoded
    if decoded != value:  # JSON in JSON
        return _decoded(decoded)
    return [decoded] if decoded.strip() else []


def _printed(text: str) -> object:
    """Return the list or dictionary that Python has printed, otherwise the text."""
    if text.lstrip()[:1] not in ("[", "(", "{"):
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text  # source that begins with a bracket


def _function_name(entry_point: object) -> str | None:
    """Return the name in a cell: alone, or in LiveCodeBench's metadata."""
    if isinstance(entry_point, str) and entry_point.lstrip().startswith("{"):
        entry_point = _decoded(entry_point)
    if isinstance(entry_point, dict):
        return next((str(entry_point[key]) for key in _FUNCTION_KEYS if entry_point.get(key)), None)
    return str(entry_point).strip() or None if entry_point else None


def _tests_in(given: object, function: str | None, setup: str) -> Iterator[Test]:
    if given is None:
        return
    if isinstance(given, dict):
        function = _function_name(given) or function if _is_function(given) else function
        if {"inputs", "outputs"} <= set(given):
            yield from _paired(given, _function_name(given))
            return
        if (key := next((name for name in _LISTS if name in given), None)) is not None:
            yield from _tests_in(_decoded(given[key]), function, setup)
            return
        given = [given]
    if not isinstance(given, list | tuple):
        raise _Unknown
    for test in given:
        yield _test(test, function, setup)


def _is_function(given: dict[object, object]) -> bool:
    return any(given.get(key) for key in _FUNCTION_KEYS)


def _paired(given: dict[str, object], function: str | None) -> Iterator[Test]:
    inputs, outputs = given["inputs"], given["outputs"]
    if not (isinstance(inputs, list | tuple) and isinstance(outputs, list | tuple)):
        raise _Unknown("whose inputs and outputs are no lists")
    if len(inputs) != len(outputs):
        raise _Unknown(f"with {len(inputs)} inputs and {len(outputs)} outputs")
    for pair in zip(inputs, outputs, strict=True):
        yield _calls(function, *pair) if function else _prints(*pair)


def _test(value: object, function: str | None, setup: str) -> Test:
    if isinstance(value, str):
        return Asserts(runnable(value, function, setup))
    if isinstance(value, dict) and {"input", "output"} <= set(value):
        kind = str(value.get("testtype") or value.get("type") or "")
        own = _function_name(value) or _function_name(value.get("metadata"))
        if kind in _CALLED or (own and not kind):
            if not (own or function):
                remedy = "Name the column that holds it: reward.entry_point_column=metadata."
                raise SourceRefused("which call a function that nothing names", remedy)
            return _calls(str(own or function), value["input"], value["output"])
        return _prints(value["input"], value["output"])
    if isinstance(value, list | tuple) and len(value) == 2:
        return _prints(*value)
    raise _Unknown


def _prints(stdin: object, expected: object) -> Prints:
    texts = [_stream(part) for part in (stdin, expected)]
    if texts[0] is None or texts[1] is None:
        raise _Unknown
    return Prints(texts[0], texts[1])


def _stream(value: object) -> str | None:
    """Return a text, of which some data sets keep a list of lines; None for anything else."""
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return value if isinstance(value, str) else None


def _calls(function: str, given: object, expected: object) -> Asserts:
    """Return a test that calls a function, or a method of a class `Solution`, and compares.

    Arguments are a list, or as a text one in JSON on each line; a list alone on its line may also
    stand for all of them. An expected value may stand in a list of its own, as APPS has it.
    """
    value = _value(expected)
    values = [value, *(value if isinstance(value, list) and len(value) == 1 else [])]
    alternatives: list[tuple[list[object], dict[str, object]]] = []
    if isinstance(given, str):
        lines = [_value(line) for line in given.strip().splitlines()]
        alternatives.append((lines, {}))
        given = lines[0] if len(lines) == 1 else None
    if isinstance(given, list | tuple):
        alternatives.append((list(given), {}))
    elif isinstance(given, dict) and all(str(name).isidentifier() for name in given):
        alternatives.append(([], given))
    if not alternatives:
        alternatives.append(([given], {}))
    name = re.sub(r"^Solution(\(\))?\.", "", function).strip()
    if not name.isidentifier():
        raise _Unknown(f"whose function is called {function!r}")
    called = f"({name} if defined else Solution().{name})"
    source = _CALL.format(function=called, expected=values, alternatives=alternatives)
    found = f"try:\n    {name}\n    defined = True\nexcept NameError:\n    defined = False\n"
    return Asserts(found + source)


def _value(text: object) -> object:
    """Return the value that a text writes in JSON; any other text is itself."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return _printed(text)
