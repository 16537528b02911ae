"""Which rows are held out: those whose prompt's hash is small.

Each prompt is decided on by itself, so that rows added later move none from one side to the other,
and one prompt never stands on both sides. A text that was cut is decided on as a whole: its opening
is no question, and where it was cut does not matter. Where only some rows are wanted they are drawn
by a hash of all that they say: files are often sorted, by label for one, and their first rows say
little of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from math import ceil

from rlexp.data.parsing.values import Row
from rlexp.spec.errors import Problem, UserError

_SALT = b"rlexp held-out:"
_CONTENT = ("prompt", "completion", "chosen", "rejected", "label")
FEWEST_HELD_OUT = 8
"""Prompts below which a 95 % interval says nothing: of n differences that all have one sign a sign
test's p is 2 / 2^n, so that five could never show a change, and eight may hold two that differ."""


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
    return _uniform(content)


def _uniform(content: object) -> float:
    digest = sha256(_SALT + canonical_json(content)).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def prompt_text(row: Row) -> str:
    """Return what is asked, by which rows are told apart: white space and system turns are not.

    Of a text that was cut it is the whole.
    """
    if "opening" in row:
        return " ".join((row["opening"] + row.get("completion", "")).split())
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return " ".join(prompt.split())
    turns = [turn for turn in prompt if turn["role"] != "system"]
    if len(turns) == 1 and turns[0]["role"] == "user":
        return " ".join(turns[0]["content"].split())
    return "\n".join(
        f"{turn['role']}: {' '.join(turn['content'].split())}{_calls(turn)}" for turn in turns
    )


def _calls(turn: dict[str, object]) -> str:
    return canonical_json(turn["tool_calls"]).decode() if "tool_calls" in turn else ""


def _prompt_key(row: Row) -> float:
    return shuffle_key(row) if "opening" in row else _uniform({"prompt": prompt_text(row)})


def split(rows: list[Row], fraction: float, source: str) -> tuple[list[Row], list[Row]]:
    """Return training rows and held-out rows (which draw less than `fraction`), in their order.

    Raises:
        UserError: one side would be empty.
    """
    train, heldout = [], []
    for row in rows:
        (heldout if _prompt_key(row) < fraction else train).append(row)
    if not train or not heldout:
        got = f"{fraction}, which leaves {len(train)} of {len(rows)} rows to train on"
        want = "a share that leaves rows on both sides"
        remedy = f"Raise or lower it, or add rows to {source}; equal prompts stay together."
        raise UserError(Problem("data.eval_fraction", got, want, remedy))
    return train, heldout


def held_out_note(train: list[Row], heldout: list[Row], split_by_hash: bool) -> str | None:
    """Return a warning where too few prompts are held out for intervals; None where enough are.

    Args:
        train: rows to train on.
        heldout: rows held out.
        split_by_hash: whether `data.eval_fraction` decided.
    """
    prompts = len({prompt_text(row) for row in heldout})
    if prompts >= FEWEST_HELD_OUT:
        return None
    note = f"held out: {prompts} prompts, too few for intervals and comparisons to mean anything"
    remedy = f"at least {FEWEST_HELD_OUT} are wanted in the part that is evaluated on"
    if split_by_hash:
        keys = sorted({_prompt_key(row) for row in (*train, *heldout)})
        remedy = "add rows"
        if len(keys) >= 2 * FEWEST_HELD_OUT:
            fraction = ceil(keys[FEWEST_HELD_OUT - 1] * 100 + 1e-9) / 100
            remedy = (
                f"data.eval_fraction={min(fraction, 0.99):g} holds out {FEWEST_HELD_OUT} or more"
            )
    return f"{note}: {remedy}"


def overlap_note(train: Iterable[Row], heldout: Iterable[Row]) -> str | None:
    """Return how many held-out prompts are trained on as well; None where none are."""
    trained = {prompt_text(row) for row in train}
    shared = {prompt_text(row) for row in heldout} & trained
    if not shared:
        return None
    return f"held-out prompts that are among the training prompts as well: {len(shared)}"


def sample_fraction(rows: list[Row], most: int | None) -> list[Row]:
    """Return at most so many rows, those that draw least, in their order; all for None."""
    if most is None or most >= len(rows):
        return rows
    kept = sorted(range(len(rows)), key=lambda index: shuffle_key(rows[index]))[:most]
    return [rows[index] for index in sorted(kept)]
