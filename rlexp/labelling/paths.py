"""Paths into nested records: `fields.prompt`, `options[0].text`, `responses.vote[].value`.

A name may hold dots itself: at each step the longest key that fits is taken. `[]` goes through a
list; all paths of a record that do so go through their lists together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rlexp.data.parsing.mistakes import RecordError
from rlexp.data.parsing.values import Row

_INDEX = re.compile(r"\[(\d*)\]")
EACH = "[]"
_DEEPEST = 4


@dataclass(frozen=True)
class _Several:
    """What a path with `[]` leads to."""

    values: list[Any]


def record_paths(record: Row) -> list[str]:
    """Return the paths to the values of a record that are no objects; of a list, to its first.

    An empty list leads nowhere: other records say what stands in it.
    """
    return [path for name, value in record.items() for path in _paths(value, name, 1)]


def _paths(value: object, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and value and depth < _DEEPEST + path.count("["):
        for name, below in value.items():
            yield from _paths(below, f"{path}.{name}", depth + 1)
    elif isinstance(value, list) and not (value and _is_conversation(value)):
        # a judgement each in the outermost list, and one value of a list in it
        for first in value[:1]:
            yield from _paths(first, f"{path}{'[0]' if EACH in path else EACH}", depth + 1)
    else:
        yield path


def _is_conversation(value: list[Any]) -> bool:
    first = value[0]
    return isinstance(first, dict) and bool({"role", "from"} & set(first))


def exists_in(path: str, record: Row) -> bool:
    """Return whether a path leads anywhere in a record; also to null, or to an empty list."""
    try:
        _value(record, path)
    except KeyError:
        return False
    return True


def expanded(record: Row, paths: Mapping[str, str]) -> Iterator[Row]:
    """Yield the values that paths lead to: once, or once for each entry of the lists on them.

    Args:
        record: the source's, nested.
        paths: name -> path.

    Raises:
        RecordError: the lists are of different lengths.
    """
    values = {}
    for name, path in paths.items():
        try:
            values[name] = _value(record, path)
        except KeyError:
            values[name] = None
    lists = {name: value.values for name, value in values.items() if isinstance(value, _Several)}
    lengths = {len(entries) for entries in lists.values()}
    if len(lengths) > 1:
        sizes = ", ".join(f"{len(entries)} in {paths[name]}" for name, entries in lists.items())
        raise RecordError(f"lists of different lengths: {sizes}", "an entry each a judgement")
    if not lists:
        yield values
    for entries in zip(*lists.values(), strict=True):
        yield {**values, **dict(zip(lists, entries, strict=True))}


def _value(value: Any, path: str) -> Any:
    """Return what a path leads to. Raises KeyError where it leads nowhere."""
    if not path:
        return value
    if match := _INDEX.match(path):
        rest = path[match.end() :].removeprefix(".")
        if value is None:
            return None
        if not isinstance(value, list):
            raise KeyError(path)
        if match[1]:
            return _value(value[int(match[1])], rest) if int(match[1]) < len(value) else None
        return _Several([_value(entry, rest) for entry in value])
    names = value if isinstance(value, dict) else {}
    for name in sorted(names, key=len, reverse=True):
        if path == name or path.startswith((f"{name}.", f"{name}[")):
            return _value(names[name], path[len(name) :].removeprefix("."))
    if value is None:
        return None
    raise KeyError(path)
