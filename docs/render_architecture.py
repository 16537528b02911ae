"""Draws the rooms of rlexp into docs/architecture.md, from the imports that the code has.

    python docs/render_architecture.py

Between `<!-- rooms -->` and `<!-- end -->` stands what this writes; the rest of the page is written
by hand. tests/test_layout.py reads the imports by the functions here, too.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("architecture.md")
BLOCK = re.compile(r"<!-- rooms -->\n.*?<!-- end -->", re.DOTALL)

LAYERS = (
    ("__main__",),
    ("commands", "plugins"),
    ("cli",),
    ("sweep", "reproduction", "comparison"),
    ("pipelines",),
    ("launch",),
    ("run",),
    ("runner",),
    ("config",),
    ("registry",),
    ("cards",),
    ("guards", "probing", "labelling"),
    ("evaluation", "algos", "rewards", "data", "models", "tracking"),
    ("rendering", "trainers", "scoring", "sandbox", "builtin"),
    ("runtime", "curriculum"),
    ("spec",),
)
"""The one-way order: a room imports from rooms of the lines below its own, and from no other."""
DESCRIPTIONS = {
    "plugins": "What Hydra finds by itself: the sweeper, and the launcher of its trials."
}
"""Of rooms without an `__init__.py`, whose docstring would say it."""

Graph = dict[str, set[str]]


def module_files() -> dict[str, Path]:
    """Return the files of rlexp by the names of their modules."""
    names = {}
    for file in sorted((ROOT / "rlexp").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def import_graph() -> Graph:
    """Return, for each module of rlexp, the modules of rlexp that it names in an import.

    Imports inside functions and under TYPE_CHECKING count; that importing a module also runs the
    packages around it does not.
    """
    files = module_files()
    return {
        module: {
            target
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for target in _targets(node, module, file.name == "__init__.py", files)
        }
        - {module}
        for module, file in files.items()
    }


def _targets(
    node: ast.AST, module: str, is_package: bool, files: Mapping[str, Path]
) -> Iterable[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in files)
    elif isinstance(node, ast.ImportFrom):
        around = module.split(".") if is_package else module.split(".")[:-1]
        parts = around[: len(around) + 1 - node.level] if node.level else []
        package = ".".join([*parts, node.module] if node.module else parts)
        for alias in node.names:
            submodule = f"{package}.{alias.name}"
            if submodule in files or package in files:
                yield submodule if submodule in files else package


def room_of(module: str) -> str:
    """Return the room in which a module stands: the first name below `rlexp`."""
    return [*module.split("."), "rlexp"][1]


def room_graph(imports: Graph) -> Graph:
    """Return, for each room, the other rooms that its modules import from."""
    rooms: Graph = defaultdict(set)
    for module, targets in imports.items():
        room = room_of(module)
        rooms[room] |= {room_of(target) for target in targets} - {room}
    return dict(rooms)


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of nodes that reach each other, each sorted."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {
        tuple(sorted({other for other in reached[node] if node in reached[other]}))
        for node in graph
        if node in reached[node]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += graph.get(node, ())
    return reached


def rendered(page: str) -> str:
    """Return the page with the rooms as the code has them now."""
    rooms = room_graph(import_graph())
    order = [room for layer in LAYERS for room in layer]
    lines = ["| room | what lives there | imports from |", "|---" * 3 + "|"]
    for room in order:
        below = ", ".join(_label(target) for target in sorted(rooms[room], key=order.index))
        lines.append(f"| `{_label(room)}` | {_description(room)} | {below} |")
    return BLOCK.sub(
        lambda _: "\n".join(["<!-- rooms -->", "", *_picture(), "", *lines, "", "<!-- end -->"]),
        page,
    )


def _picture() -> list[str]:
    lines = [["    " + "   ".join(_label(room) for room in layer), "      ↓"] for layer in LAYERS]
    return [line for pair in lines for line in pair][:-1]


def _label(room: str) -> str:
    return f"{room}.py" if (ROOT / "rlexp" / f"{room}.py").is_file() else room


def _description(room: str) -> str:
    if room in DESCRIPTIONS:
        return DESCRIPTIONS[room]
    file = module_files()[f"rlexp.{room}"]
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
