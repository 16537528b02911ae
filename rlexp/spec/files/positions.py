"""How many tokens a model can read at once, by its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMITS = ("n_positions", "n_ctx", "max_seq_len", "max_position_embeddings")


def position_limit(config: Mapping[str, Any]) -> int | None:
    """Return the longest sequence, in tokens, that a model has positions for; None without a limit.

    Args:
        config: of `config.json`.
    """
    if any(key.startswith("rope_") for key in config):
        return None
    return next((config[name] for name in LIMITS if isinstance(config.get(name), int)), None)
