"""The names of lm-eval's own tasks, groups and tags, with the files that declare them.

lm-eval parses all of its 14,000 files to know its names, which takes ten seconds and imports what
is slow to import. The lines that declare a name stand at the margin: to look for them takes half a
second, and is done only where a benchmark is asked for by name.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

MODULE = "lm_eval"

_DECLARED = re.compile(
    r"^[\"']?(task|group|tag|include)[\"']?:[ \t]*([^\n#]*)((?:\n[ \t]*-[ \t][^\n]*)*)", re.M
)
_ITEM = re.compile(r"[^\s,\[\]'\"-][^,\[\]'\"\n]*")


@dataclass(frozen=True)
class TaskIndex:
    """What lm-eval's folder declares."""

    files: Mapping[str, Path] = field(default_factory=dict)
    """Of each task or group."""
    tagged: Mapping[str, list[str]] = field(default_factory=dict)
    """The tasks of each tag."""

    @property
    def names(self) -> list[str]:
        """Everything that can be asked for."""
        return [*self.files, *self.tagged]


def own_tasks_folder() -> Path | None:
    """Return the folder of lm-eval's own tasks; None where it is not installed."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "tasks"


@cache
def own_tasks() -> TaskIndex:
    """Return what the installed lm-eval declares; nothing where it is not installed."""
    folder = own_tasks_folder()
    return read_index(folder) if folder else TaskIndex()


def read_index(folder: Path) -> TaskIndex:
    """Return what the yaml files below a folder declare; the first file of a name counts."""
    files: dict[str, Path] = {}
    tagged: dict[str, list[str]] = {}
    declared: dict[Path, dict[str, list[str]]] = {}

    def of_file(path: Path) -> dict[str, list[str]]:
        if path not in declared:
            declared[path] = _declarations(path)
        return declared[path]

    for path in sorted(folder.rglob("*.yaml")):
        own = of_file(path)
        name = next(iter(own.get("group") or own.get("task") or []), None)
        if name is None or name in files:
            continue
        files[name] = path
        if "group" not in own:
            for tag in _tags(path, own, of_file):
                tagged.setdefault(tag, []).append(name)
    return TaskIndex(files, {tag: names for tag, names in tagged.items() if tag not in files})


def _tags(path: Path, own: Mapping[str, list[str]], of_file) -> list[str]:
    """Return a task's tags: its own, or those of a file that it includes."""
    if "tag" in own:
        return own["tag"]
    for included in own.get("include", []):
        other = path.parent / included
        if other.is_file() and (tags := _tags(other, of_file(other), of_file)):
            return tags
    return []


def _declarations(path: Path) -> dict[str, list[str]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return {key: _ITEM.findall(value + lines) for key, value, lines in _DECLARED.findall(text)}
