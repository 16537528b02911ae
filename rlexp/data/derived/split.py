"""Which rows are held out: those whose hash is small.

Each row is decided on by itself, so that rows added later move none from one side to the other, and
equal rows never stand on both sides. Where only some rows are wanted they are drawn by the same
hash: files are often sorted, by label for one, and their first rows say little of the rest.
"""

from __future__ import annotations

import json
from hashlib import sha256

from rlexp.data.parsing.records import Row
from rlexp.spec.errors import Problem, UserError

_SALT = b"rlexp held-out:"
_CONTENT = ("prompt", "completion", "chosen", "rejected", "label")


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys: the same bytes for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()


def shuffle_key(row: Row) -> float:
    """Return the row's own number, uniform in [0, 1): the same wherever the row stands.

    A text that was cut counts as a whole: where it was cut does not matter. Nor do columns that are
    kept for rewards.
    """
    content = {column: row[column] for column in _CONTENT if column in row}
    if "opening" in row:
        content["completion"] = row["opening"] + content.pop("completion", "")
        del content["prompt"]
    digest = sha256(_SALT + canonical_json(content)).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def split(rows: list[Row], fraction: float, source: str) -> tuple[list[Row], list[Row]]:
    """Return training rows and held-out rows (which draw less than `fraction`), in their order.

    Raises:
        UserError: one side would be empty.
    """
    train, heldout = [], []
    for row in rows:
        (heldout if shuffle_key(row) < fraction else train).append(row)
    if not train or not heldout:
        got = f"{fraction}, which leaves {len(train)} of {len(rows)} rows to train on"
        want = "a share that leaves rows on both sides"
        remedy = f"Raise or lower it, or add rows to {source}; equal rows stay together."
        raise UserError(Problem("data.eval_fraction", got, want, remedy))
    return train, heldout


def sample_fraction(rows: list[Row], most: int | None) -> list[Row]:
    """Return at most so many rows, those that draw least, in their order; all for None."""
    if most is None or most >= len(rows):
        return rows
    kept = sorted(range(len(rows)), key=lambda index: shuffle_key(rows[index]))[:most]
    return [rows[index] for index in sorted(kept)]
