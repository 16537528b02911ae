"""Sources of tests, made to run, and refused where running them could not fail.

`def check(candidate)` asserts nothing until it is called, a function of pytest nor a class of
unittest either: whoever runs the source alone gives every program the full reward. What is meant is
clear in these cases, and is done. A source that asserts nothing, or nothing of the program, is
refused with its line.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache

_SOLUTION_MODULES = {
    "solution",
    "main",
    "program",
    "submission",
    "candidate",
    "your_module",
    "code",
}
"""Modules that tests import the program from."""
_RUN_UNITTEST = """
for case in [{classes}]:
    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(outcome)
    assert outcome.testsRun and outcome.wasSuccessful(), "a test of the class fails"
"""


class SourceRefused(Exception):
    """A source that could not fail, or not pass; the text says why, as the end of a sentence."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


@lru_cache(maxsize=4096)
def runnable(source: str, function: str | None = None, setup: str = "") -> str:
    """Return a source whose tests run when it does.

    Args:
        source: of tests.
        function: what they test: a name, or an expression as `Solution().f`.
        setup: what stands before it.

    Raises:
        SourceRefused: nothing in it can fail, or nothing can pass.

    >>> runnable("def check(candidate):\\n    assert candidate(2) == 4", "f").splitlines()[-1]
    'check(f)'
    """
    module, before = _parsed(source), _parsed(setup)
    as_given = ast.dump(module)
    ast.fix_missing_locations(_WithoutImports(module).visit(module))
    _refuse_missing_modules(module)
    if _asserts(module, before):
        _refuse_constants(module, before)
        return textwrap.dedent(source) if ast.dump(module) == as_given else ast.unparse(module)
    calls = [*_calls_of_check(module, function), *_calls_of_pytest(module, function)]
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    cases = [node.name for node in classes if _is_test_case(node)]
    added = "\n".join(calls) + (_RUN_UNITTEST.format(classes=", ".join(cases)) if cases else "")
    module.body += ast.parse(("import unittest\n" if cases else "") + added).body
    if not _asserts(module, before):
        raise SourceRefused(*_why_nothing_fails(module))
    _refuse_constants(module, before)
    return ast.unparse(module)


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        what = f"which is no Python (line {line}: {getattr(error, 'msg', error)})"
        raise SourceRefused(what, "Mend it: as it stands no program can pass.") from None


class _WithoutImports(ast.NodeTransformer):
    """Takes the program's names from the sandbox, and leaves out what would start a runner."""

    def __init__(self, module: ast.Module) -> None:
        marks = (node for node in ast.walk(module) if _of_pytest(node))
        uses_pytest = any(ast.unparse(node) != "pytest.main" for node in marks)
        self.left_out = _SOLUTION_MODULES | (set() if uses_pytest else {"pytest"})
        self.aliases: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        if not node.level and (node.module or "").split(".")[0] not in self.left_out:
            return node
        renamed = [alias for alias in node.names if alias.asname not in (None, alias.name)]
        return ast.parse("\n".join(f"{alias.asname} = {alias.name}" for alias in renamed)).body

    def visit_Import(self, node: ast.Import) -> ast.stmt | None:
        of_program = [alias for alias in node.names if alias.name in self.left_out]
        self.aliases |= {alias.asname or alias.name for alias in of_program}
        node.names = [alias for alias in node.names if alias not in of_program]
        return node if node.names else None

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in self.aliases - {"pytest"}:
            return ast.Name(node.attr, node.ctx)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        is_main = ast.unparse(node).startswith(("unittest.main(", "pytest.main("))
        return ast.Pass() if is_main else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        if ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__"):
            return node.body
        return node


def _of_pytest(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pytest"


def _refuse_missing_modules(module: ast.Module) -> None:
    for node in ast.walk(module):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] not in sys.stdlib_module_names:
                why = f"which imports {name} (line {getattr(node, 'lineno', 1)})"
                remedy = "The sandbox has Python's own modules alone: write the test with these."
                raise SourceRefused(why, remedy)


def _run_nodes(statements: Iterable[ast.AST], functions: dict[str, ast.AST]) -> Iterator[ast.AST]:
    """Yield what runs when statements do; of functions the bodies of those that are called."""
    waiting, called = list(statements), set[str]()
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.ClassDef):
            continue
        if isinstance(node, ast.Name) and node.id in functions and node.id not in called:
            called.add(node.id)
            waiting += _body(functions[node.id])
        waiting += ast.iter_child_nodes(node)


def _body(node: ast.AST) -> list[ast.AST]:
    """Return what runs when a function is called, or anything of a class."""
    if isinstance(node, ast.ClassDef):
        methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef))
        return [statement for method in methods for statement in method.body]
    return list(getattr(node, "body", []))


def _definitions(*modules: ast.Module) -> dict[str, ast.AST]:
    return {
        node.name: node
        for module in modules
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


def _asserts(module: ast.Module, before: ast.Module) -> bool:
    """Return whether something that can fail runs when a source does."""
    return any(map(_can_fail, _run_nodes(module.body, _definitions(before, module))))


def _can_fail(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert | ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return name.startswith("assert") or ast.unparse(node.func) in ("sys.exit", "exit", "quit")


def _refuse_constants(module: ast.Module, before: ast.Module) -> None:
    """Refuse a source that uses no name of the program's: it has the same result for every one."""
    if not _programs_names(ast.unparse(before) + "\n" + ast.unparse(module)):
        remedy = "Call a function of the program's in it."
        raise SourceRefused("which asks nothing of the program", remedy)


def _programs_names(source: str) -> set[str]:
    """Return the names that a source uses and neither it nor Python defines."""
    top = symtable.symtable(source, "test", "exec")
    tables, used = [top], set[str]()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {
            symbol.get_name() for symbol in table.get_symbols() if _is_free(symbol, table is top)
        }
    bound = {symbol.get_name() for symbol in top.get_symbols() if not _is_free(symbol, True)}
    return used - bound - set(vars(builtins)) - set(sys.stdlib_module_names)


def _is_free(symbol: symtable.Symbol, at_top: bool) -> bool:
    if at_top:
        return not (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace())
    return symbol.is_referenced() and symbol.is_global()


def stubs_of(source: str) -> tuple[str, str]:
    """Return two programs that define what a test uses, and do nothing: no right test passes both.

    Their functions return None, or always the same object, whatever they are given.
    """
    functions = "".join(
        f"def {name}(*given, **named):\n    return nothing\n"
        for name in sorted(_programs_names(source))
    )
    return f"nothing = None\n{functions}", f"nothing = object()\n{functions}"


def _parameters(function: ast.FunctionDef) -> list[str]:
    required = len(function.args.args) - len(function.args.defaults)
    return [argument.arg for argument in function.args.args[:required]]


def _calls_of_check(module: ast.Module, function: str | None) -> list[str]:
    """Return the call of HumanEval's `check(candidate)`."""
    checks = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    checks = [node for node in checks if node.name == "check" and len(_parameters(node)) <= 1]
    if checks and _parameters(checks[0]) and function is None:
        remedy = "Name the column that holds the function's name: reward.entry_point_column="
        remedy += "entry_point. Or end each test with the call: check(NAME)."
        raise SourceRefused(f"whose check (line {checks[0].lineno}) is never called", remedy)
    return [f"check({function if _parameters(node) else ''})" for node in checks[:1]]


def _calls_of_pytest(module: ast.Module, function: str | None) -> list[str]:
    """Return a call for each of pytest's functions, and for the methods of its classes."""
    calls = []
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            calls.append(f"{node.name}({_argument(node, _parameters(node), function)})")
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test") and not node.bases:
            for method in (inner for inner in node.body if isinstance(inner, ast.FunctionDef)):
                if method.name.startswith("test"):
                    argument = _argument(method, _parameters(method)[1:], function)
                    calls.append(f"{node.name}().{method.name}({argument})")
    return calls


def _argument(test: ast.FunctionDef, parameters: list[str], function: str | None) -> str:
    if not parameters:
        return ""
    if parameters == ["candidate"] and function is not None:
        return function
    why = (
        f"whose {test.name} (line {test.lineno}) takes {', '.join(parameters)}, which nothing gives"
    )
    raise SourceRefused(why, "Write the test without arguments.")


def _is_test_case(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split(".")[-1] == "TestCase" for base in node.bases)


def _why_nothing_fails(module: ast.Module) -> tuple[str, str]:
    for node in module.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare):
            why = f"whose comparison (line {node.lineno}) is thrown away"
            return why, f"Write it with assert: assert {ast.unparse(node)[:60]}"
    defined = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    if defined and not defined[0].name.startswith("test"):
        why = f"whose {defined[0].name} (line {defined[0].lineno}) is never called"
        return why, f"End the test with the call: {defined[0].name}(…)."
    return "which asserts nothing when it runs", "Write asserts: assert f(2) == 4"
