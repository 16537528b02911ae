"""How many tokens a model can read at once, by its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlexp.spec.files.text_config import text_config
from rlexp.spec.files.transformers_names import architecture_source

LIMITS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length")
"""Names of the limit, the first that is there counts."""

WITHOUT_POSITIONS = frozenset({"bloom", "jamba", "nemotron_h", "xglm", "zamba"})
"""Families whose config has a limit and whose model has none: ALiBi's biases, a state, or a table
that grows."""

RESERVED = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "data2vec-text": 2}
"""Positions that a family keeps for itself."""


def position_limit(config: Mapping[str, Any]) -> int | None:
    """Return the longest sequence, in tokens, that a model has positions for; None without a limit.

    Beyond it a model with a table of positions fails with an index error. One with rotary positions
    or ALiBi has no hard limit, whatever it was trained to.

    Args:
        config: of `config.json`.

    >>> position_limit({"model_type": "gpt2", "n_positions": 1024})
    1024
    >>> position_limit({"model_type": "qwen2", "max_position_embeddings": 32768, "rope_theta": 1e6})
    """
    text = text_config(config)
    family = text.get("model_type", config.get("model_type"))
    if family in WITHOUT_POSITIONS or any(key.startswith("rope_") for key in text):
        return None
    if family and "rope_" in architecture_source(family, "configuration"):
        return None  # configs from before transformers 5 leave the default base out
    limits = (text.get(name) for name in LIMITS)
    limit = next((int(limit) for limit in limits if isinstance(limit, int) and limit > 0), None)
    return None if limit is None else limit - RESERVED.get(str(family), 0)
