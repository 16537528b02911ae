"""How many requests this process has sent to judges, and what they cost."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass

_LOCK = threading.Lock()


@dataclass
class Usage:
    """Counts since the process began, all judges together."""

    requests: int = 0
    """Answered by an endpoint."""
    cached: int = 0
    """Answered from the cache."""
    retries: int = 0
    """Sent again: too many requests, an error of the server, a time-out."""
    unreadable: int = 0
    """Answers in which nothing was found that had been asked for."""
    unanswered: int = 0
    """Questions given up after the last unreadable answer: these are the missing values."""
    input_tokens: int = 0
    """Of the requests, as the endpoint counts them."""
    output_tokens: int = 0
    """Of its answers."""
    cost: float = 0.0
    """Tokens times prices, in the currency of the prices."""

    def metrics(self) -> dict[str, float]:
        """Return the counts as metrics, by name."""
        return {f"perf/judge_{name}": float(value) for name, value in asdict(self).items()}


_USAGE = Usage()


def record_usage(**amounts: float) -> None:
    """Add to the usage so far, by the names of its fields; from any thread."""
    with _LOCK:
        for name, amount in amounts.items():
            setattr(_USAGE, name, getattr(_USAGE, name) + amount)


def usage() -> Usage:
    """Return the usage so far."""
    with _LOCK:
        return Usage(**asdict(_USAGE))
