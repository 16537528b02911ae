"""A function of the user's, named `module:function`: its source is read first, and run later."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any


def required_parameters(name: str) -> list[str]:
    """Return the function's parameters without a default, without running the user's code.

    Empty where the source does not tell: the name is imported there, or assigned.

    Raises:
        ValueError: with what is wanted instead, when there is no such module or function, or the
            module does not parse.

    >>> required_parameters("statistics:mean")
    ['data']
    >>> required_parameters("statistics:meen")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: a function at the top level of ...statistics.py; did you mean statistics:mean?
    """
    module, colon, function = name.partition(":")
    if not (colon and function.isidentifier() and all(p.isidentifier() for p in module.split("."))):
        raise ValueError("module:function, such as my_reward:score for score() in my_reward.py")
    path = source_of(module)
    if path is None:
        return []
    names = dict(_top_level_names(_syntax_tree(path)))
    if function not in names:
        near = get_close_matches(function, names, n=1)
        hint = f"did you mean {module}:{near[0]}?" if near else f"{path.name} has none of that name"
        raise ValueError(f"a function at the top level of {path}; {hint}")
    node = names[function]
    if isinstance(node, ast.AsyncFunctionDef):
        raise ValueError(f"a plain function; {path}:{node.lineno} defines it as async")
    return _required(node) if isinstance(node, ast.FunctionDef) else []


@cache
def load_function(name: str) -> Callable[..., Any]:
    """Return the function itself; this runs the user's module."""
    module, _, function = name.partition(":")
    _import_from_current_folder()
    return getattr(importlib.import_module(module), function)


def _import_from_current_folder() -> None:
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)


def source_of(module: str) -> Path | None:
    """Return the module's file; None for one that is not written in Python.

    Raises:
        ValueError: Python finds no such module.
    """
    _import_from_current_folder()
    importlib.invalidate_caches()
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    for depth in range(2, len(parts) + 1):
        # importlib.util.find_spec would run the parent package to find what is in it.
        folders = spec.submodule_search_locations if spec else None
        name = ".".join(parts[:depth])
        spec = importlib.machinery.PathFinder.find_spec(name, folders) if folders else None
    if spec is None:
        modules = sorted(path.stem for path in Path.cwd().glob("*.py"))
        near = get_close_matches(module, modules, n=1)
        hint = "name a file of the current folder, without .py"
        if near:
            hint = f"did you mean {near[0]}?"
        raise ValueError(
            f"a module that Python finds in {Path.cwd()} or among the installed; {hint}"
        )
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


def _syntax_tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise ValueError(f"a module that parses; {path}:{error.lineno}: {error.msg}") from error


def _top_level_names(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.Assign):
            yield from ((t.id, node) for t in node.targets if isinstance(t, ast.Name))


def _required(node: ast.FunctionDef) -> list[str]:
    positional = [*node.args.posonlyargs, *node.args.args]
    required = positional[: len(positional) - len(node.args.defaults)]
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    required += [argument for argument, default in pairs if default is None]
    return [argument.arg for argument in required]
