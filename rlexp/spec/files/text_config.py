"""The language model's part of a config, where a model does more than language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of a model's text part, which is the config itself of a language model."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config
