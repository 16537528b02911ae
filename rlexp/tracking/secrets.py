"""Secrets are taken out of every text that leaves the process for the spool, MLflow or a log."""

from __future__ import annotations

import os
import re
from typing import Any

HIDDEN = "***"

_SHORTEST_SECRET = 6
"""Shorter values of secret variables stay: replacing `on` or `1` everywhere would ruin texts."""

_SECRET_VARIABLE = re.compile(r"(TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIALS?)$", re.IGNORECASE)
_CREDENTIALS_IN_URI = re.compile(r"(?<=://)[^/\s'\"]*@")
_ASSIGNED = re.compile(
    # Not every `…_token`: in this field that is `pad_token` or `max_new_tokens`.
    r"([\w.-]*(?:password|passwd|secret|(?:api|access|private)[_-]?key|"
    r"(?:hub|hf|auth|access|api|bearer)[_-]?token)[\"']?\s*[:=]\s*[\"']?)([^\s\"'&,}]+)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\b(?:hf_\w{16,}|gh[pousr]_\w{20,}|sk-[\w-]{20,}|AKIA\w{16})\b")


def redacted(text: str) -> str:
    """Return `text` without secret environment variables, credentials in URIs, and tokens.

    >>> redacted("postgresql://ann:pass@db/mlflow and algo.trl.hub_token=abc")
    'postgresql://***@db/mlflow and algo.trl.hub_token=***'
    """
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    text = _CREDENTIALS_IN_URI.sub(f"{HIDDEN}@", text)
    text = _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


def redacted_values(value: Any) -> Any:
    """Redact every text inside nested dictionaries and lists, but no keys."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: redacted_values(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_values(inner) for inner in value]
    return value


def _secret_values() -> list[str]:
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_SECRET
    }
    return sorted(values, key=len, reverse=True)  # a secret that contains another goes first
