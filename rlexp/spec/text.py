"""Texts and messages: what was said, and how an opening and its continuation join."""

from __future__ import annotations

import re
from typing import Any

Message = dict[str, Any]
Text = str | list[Message]

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
"""Characters of scripts that put no spaces between words, as a regular expression's ranges: Thai,
Lao, Burmese, Khmer, kana and Chinese characters."""

_JOINS_WITHOUT_SPACE = re.compile(rf"\s|[^\w\s]|[{UNSPACED}]")


def content_of(message: Message) -> str:
    """The text of a message; of one in parts, of its text parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


def joined(opening: str, continuation: str) -> str:
    """Opening and continuation as one text.

    A space goes between them only where two words would otherwise run together: a chat model
    answers without the space that a text model begins with.
    """
    touches = opening and continuation and not opening[-1].isspace()
    needs_space = touches and not _JOINS_WITHOUT_SPACE.match(continuation)
    return f"{opening} {continuation}" if needs_space else opening + continuation
