"""The tokens at which a model's own config stops sampling."""

from __future__ import annotations

import json
from pathlib import Path


def declared_end_tokens(folder: Path) -> list[int]:
    """Return the `eos_token_id` of a model's `generation_config.json`, or else of its config.

    Args:
        folder: the model's; one without either file declares none.
    """
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        if file.is_file():
            config = json.loads(file.read_text(encoding="utf-8"))
            text = config.get("text_config")
            declared = (text if isinstance(text, dict) else config).get("eos_token_id")
            return [declared] if isinstance(declared, int) else list(declared or [])
    return []
