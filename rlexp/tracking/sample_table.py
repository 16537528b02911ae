"""Tables of samples, laid out as MLflow shows them best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def ordered_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Order the columns: reward and its terms, prompt, completion, other texts, other numbers.

    Of a table MLflow shows the first columns that fit.
    """
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "step"]

    def rank(name: str) -> int:
        if name == "reward" or name.startswith("reward_"):
            return 0 if name == "reward" else 1
        if name in ("prompt", "completion"):
            return 2 if name == "prompt" else 3
        values = [row[name] for row in rows if row.get(name) is not None]
        is_number = bool(values) and all(isinstance(value, (int, float)) for value in values)
        return 5 if is_number else 4

    return sorted(names, key=rank)


def json_cell(value: Any) -> Any:
    """Return a value as the table holds it; a conversation is written out as text."""
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in value)
    return value
