"""Words of a mix of small files, for several test files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Records = Sequence[Mapping[str, Any]]


def demonstrations(word: str, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{word} {n}?", "completion": f"{word} answer {n}"} | more for n in range(count)
    ]


def pairs(word: str, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{word} {n}?", "chosen": f"good {n}", "rejected": f"bad {n}"} | more
        for n in range(count)
    ]


def labelled(word: str, count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{word} {n}?", "completion": f"{word} text {n}", "label": n % 2 == 0}
        for n in range(count)
    ]


def source_of(folder: Path, name: str, records: Records, weight: Any = 1) -> list[str]:
    """Words that add a source, whose file is written."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    key = f"data.sources.{name}"
    return [f"+data@{key}=file", f"{key}.path={path}", f"+{key}.weight={weight}"]


def mix_of(folder: Path, weights: Mapping[str, Any] | None = None, **sources: Records) -> list[str]:
    """Words of a mix of files with the names and rows of `sources`; weights are 1 if not given."""
    given = weights or {}
    words = [source_of(folder, name, rows, given.get(name, 1)) for name, rows in sources.items()]
    return ["data=mix", *(word for of_source in words for word in of_source)]
