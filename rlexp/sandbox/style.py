"""Whether a text is Python, and how far it keeps to PEP 8: read, never run."""

from __future__ import annotations

import ast
import importlib.util
import warnings
from types import ModuleType
from typing import Any


def load_linter(path: str | None) -> ModuleType | None:
    """Load pycodestyle from its file; None for none."""
    if path is None:
        return None
    spec = importlib.util.spec_from_file_location("pycodestyle", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parses(code: str) -> bool:
    """Return whether Python compiles the code, and there is something in it to run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
            compile(tree, "program.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return bool(tree.body)


def style_share(code: str, linter: Any) -> float:
    """Return the share of lines with code without a complaint of pycodestyle, or 0."""
    lines = [line + "\n" for line in code.strip("\n").split("\n")]
    wrong: set[int] = set()

    class Report(linter.BaseReport):
        def error(self, line_number: int, offset: int, text: str, check: Any) -> Any:
            code = super().error(line_number, offset, text, check)
            if code:
                wrong.add(line_number)
            return code

    guide = linter.StyleGuide(reporter=Report, ignore=linter.DEFAULT_IGNORE.split(","))
    linter.Checker("program.py", lines=lines, options=guide.options).check_all()
    written = {number for number, line in enumerate(lines, 1) if line.strip()}
    return len(written - wrong) / len(written) if written else 0.0
