"""Answers that were given once: kept on this machine, so that nobody pays for them again.

A question's key is the hash of all that decides its answer (address, model, every field of the
request), so the same command finds the same answers, and another temperature does not. The answers
stand in the user's cache folder, in SQLite, as plain columns; neither questions nor keys of
endpoints do.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlexp.runtime.cache import cache_folder

Question = dict[str, Any]
"""The body of a request, as JSON has it."""
PATIENCE_SECONDS = 60
"""How long a process waits for others that write."""


@dataclass(frozen=True)
class Answer:
    """An endpoint's answer to a question.

    Attributes:
        text: empty where it refused.
        cut: whether it was cut at the endpoint's or the request's limit.
        input_tokens, output_tokens: as the endpoint counts them; 0 where it does not.
    """

    text: str
    cut: bool
    input_tokens: int
    output_tokens: int


def cache_key(question: Question) -> str:
    """Return the hash of a question, the same whatever the order of its fields."""
    text = json.dumps(question, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def cache_file() -> Path:
    """Return the file that all processes of the user share."""
    return cache_folder() / "judged.sqlite"


@contextmanager
def open_cache() -> Iterator[sqlite3.Connection]:
    """Open the cache, made where it is not there; each statement is committed at once."""
    file = cache_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(
        sqlite3.connect(file, timeout=PATIENCE_SECONDS, isolation_level=None)
    ) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL,"
            " cut INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL)"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS turns (endpoint TEXT PRIMARY KEY, next REAL NOT NULL)"
        )
        yield connection


def cached_answer(cache: sqlite3.Connection, key: str) -> Answer | None:
    """Return the answer to a question that was asked before; None for a new one."""
    row = cache.execute(
        "SELECT text, cut, input_tokens, output_tokens FROM answers WHERE key = ?", (key,)
    ).fetchone()
    return row and Answer(row[0], bool(row[1]), row[2], row[3])


def store_answer(cache: sqlite3.Connection, key: str, answer: Answer) -> Answer:
    """Store an answer; return the one that another process has stored meanwhile, if any."""
    cache.execute(
        "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
        (key, answer.text, answer.cut, answer.input_tokens, answer.output_tokens),
    )
    return cached_answer(cache, key) or answer


def take_turn(endpoint: str, a_minute: int) -> float:
    """Take the next turn at an endpoint; return the seconds until then.

    Turns are 60 / `a_minute` seconds apart over all processes of the user on this machine: what an
    endpoint limits is the account, not one run.
    """
    now = time.time()
    with open_cache() as cache:
        cache.execute("BEGIN IMMEDIATE")
        row = cache.execute("SELECT next FROM turns WHERE endpoint = ?", (endpoint,)).fetchone()
        turn = max(now, row[0]) if row else now
        cache.execute(
            "INSERT OR REPLACE INTO turns VALUES (?, ?)", (endpoint, turn + 60 / a_minute)
        )
        cache.execute("COMMIT")
    return turn - now
