"""Tokenizers that put an end token behind every text, and how to keep them from it.

A prompt that ends in one is answered by a model that believes the text is over, and a training
text, which gets its end token from the trainer, would end in two.
"""

from __future__ import annotations

import json
from typing import Any

from rlexp.spec.errors import Problem, UserError

WORDS = "a"
"""A text whose last token is a word's, unless the tokenizer appends something."""


def stop_appending(tokenizer: Any) -> str | None:
    """Keep a tokenizer from appending special tokens to texts; what it appended, if anything.

    What it puts before a text stays.

    Args:
        tokenizer: of transformers; changed in place.

    Raises:
        UserError: it appends all the same.
    """
    appended = _appended(tokenizer)
    if not appended:
        return None
    name = tokenizer.decode(appended)
    if getattr(tokenizer, "add_eos_token", False):
        tokenizer.add_eos_token = False
    if _appended(tokenizer) and getattr(tokenizer, "backend_tokenizer", None) is not None:
        _take_off(tokenizer.backend_tokenizer)
    if _appended(tokenizer):
        got = f"a tokenizer that appends {name} to every text, and cannot be kept from it"
        remedy = "Save it without: tokenizer.add_eos_token = False, then save_pretrained(FOLDER)."
        raise UserError(Problem("model.tokenizer", got, "one that leaves prompts open", remedy))
    return name


def _appended(tokenizer: Any) -> list[int]:
    whole = tokenizer(WORDS)["input_ids"]
    bare = tokenizer(WORDS, add_special_tokens=False)["input_ids"]
    if not bare:  # a vocabulary of whole words, without this one
        return []
    for before in range(len(whole) - len(bare) + 1):
        if whole[before : before + len(bare)] == bare:
            return whole[before + len(bare) :]
    return []


def _take_off(backend: Any) -> None:
    """Rewrite a fast tokenizer's post-processor without what stands behind the text."""
    import tokenizers

    content = json.loads(backend.to_str())
    content["post_processor"] = _without_end(content.get("post_processor"))
    backend.post_processor = tokenizers.Tokenizer.from_str(json.dumps(content)).post_processor


def _without_end(processor: Any) -> Any:
    if not isinstance(processor, dict):
        return processor
    if processor["type"] == "Sequence":
        return processor | {"processors": [_without_end(one) for one in processor["processors"]]}
    if processor["type"] == "TemplateProcessing":
        templates = {name: _up_to_text(processor[name]) for name in ("single", "pair")}
        return processor | templates
    return processor


def _up_to_text(template: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = max((place for place, piece in enumerate(template) if "Sequence" in piece), default=-1)
    return template[: last + 1]
