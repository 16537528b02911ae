"""The house: what stands where in rlexp, how large it is, and which way imports point.

docs/render_architecture.py reads the imports and holds the order of the rooms.
"""

from __future__ import annotations

import ast
import re
import runpy
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlexp.runtime.paths import CONF

ROOT = CONF.parent
PACKAGE = ROOT / "rlexp"
SCRIPT = runpy.run_path(str(ROOT / "docs" / "render_architecture.py"))
IMPORTS: dict[str, set[str]] = SCRIPT["import_graph"]()
LAYERS: tuple[tuple[str, ...], ...] = SCRIPT["LAYERS"]

MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES = 15, 300, 50
ONE_FILE_A_WORD = {"algos", "commands", "rewards", "spec"}
"""Rooms with a file for each word of the config or the command line, however many these are."""
SHARED_NAMES = {"main", "run"}
"""What programs and verbs are called by."""


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    docstring = first if ast.get_docstring(function) is not None else None
    documented = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - documented


def test_the_hallway_is_empty() -> None:
    """A loose module beside the rooms, where everything used to pile up."""
    loose = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert loose == {"__init__.py", "__main__.py", "run.py"}


def test_no_room_is_crowded() -> None:
    """A folder in which nobody finds a file any more."""
    files = defaultdict(list)
    for file in python_files():
        files[file.parent.relative_to(PACKAGE).as_posix()].append(file.name)
    crowded = {room: len(names) for room, names in files.items() if len(names) > MOST_FILES}
    assert crowded.keys() <= ONE_FILE_A_WORD, crowded


def test_no_file_is_too_long() -> None:
    """A file of several subjects; an exception that is none any more."""
    lines = {
        file.relative_to(PACKAGE).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in python_files()
    }
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not long


def test_no_function_is_too_long() -> None:
    """A function that nobody sees whole."""
    long = [
        f"{file.relative_to(PACKAGE)}:{function.lineno} {function.name}: {code_lines(function)}"
        for file in python_files()
        for function in definitions(ast.parse(file.read_text(encoding="utf-8")))
        if code_lines(function) > MOST_FUNCTION_LINES
    ]
    assert not long, long


def test_no_modules_import_each_other() -> None:
    """A circle of imports, be it inside functions or under TYPE_CHECKING."""
    assert SCRIPT["circles"](IMPORTS) == []


def test_rooms_import_one_way() -> None:
    """An import that points up, or to the side; a room whose place nobody has said."""
    place = {room: row for row, rooms in enumerate(LAYERS) for room in rooms}
    rooms = {SCRIPT["room_of"](module) for module in IMPORTS} - {"rlexp"}
    assert rooms == place.keys()
    wrong = [
        f"{module} imports {target}"
        for module, targets in sorted(IMPORTS.items())
        for target in sorted(targets)
        if (room := SCRIPT["room_of"](module)) != (other := SCRIPT["room_of"](target))
        if {room, other} <= place.keys() and place[room] >= place[other]
    ]
    assert not wrong, wrong


def test_no_two_public_things_share_a_name() -> None:
    """Two classes or functions that a search for their name mixes up."""
    homes = defaultdict(list)
    for module, file in SCRIPT["module_files"]().items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                homes[node.name].append(module)
    alike = {
        name: modules
        for name, modules in homes.items()
        if len(modules) > 1 and not name.startswith("_") and name not in SHARED_NAMES
    }
    assert not alike, alike


def test_the_picture_is_current() -> None:
    """A room or an import that docs/architecture.md does not know."""
    page = SCRIPT["PAGE"].read_text(encoding="utf-8")
    assert page == SCRIPT["rendered"](page), "python docs/render_architecture.py"


def test_the_files_that_the_page_names_are_there() -> None:
    """A file that was moved, and the page still sends readers to it."""
    page = SCRIPT["PAGE"].read_text(encoding="utf-8")
    paths = re.findall(r"`([\w./-]+(?:\.py|/))`", page)
    gone = {
        path
        for path in paths
        if not any(word.isupper() for word in re.split(r"[/.]", path))
        if not (ROOT / path).exists() and not (PACKAGE / path).exists()
    }
    assert len(paths) > 30
    assert not gone, gone


@pytest.mark.parametrize(
    ("source", "targets"),
    [
        ("from rlexp.runtime import paths", {"rlexp.runtime.paths"}),
        ("from rlexp.runtime.paths import CONF", {"rlexp.runtime.paths"}),
        ("def f():\n    import rlexp.runtime.paths as p", {"rlexp.runtime.paths"}),
        ("if TYPE_CHECKING:\n    from rlexp.spec.run import RunSpec", {"rlexp.spec.run"}),
        ("from ..runtime.paths import CONF", {"rlexp.runtime.paths"}),
        ("from . import seal", {"rlexp.cards.seal"}),
        ("import torch", set()),
    ],
)
def test_every_way_to_import_is_seen(
    source: str, targets: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that the graph misses, behind which a circle could hide."""
    for name in ("runtime/paths", "spec/run", "cards/seal", "cards/card"):
        file = tmp_path / "rlexp" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source if name == "cards/card" else "", encoding="utf-8")
    monkeypatch.setitem(SCRIPT["module_files"].__globals__, "ROOT", tmp_path)
    assert SCRIPT["import_graph"]()["rlexp.cards.card"] == targets


def test_circles_are_found() -> None:
    """A circle over three modules, and one beside a way that only leads there."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e"}}
    assert SCRIPT["circles"](graph) == [["a", "b", "c"], ["e", "f"]]
