"""Texts cut into an opening, which becomes the prompt, and the rest, which becomes the completion.

How many words an opening has is drawn from a hash of the text, so that a text is always cut at the
same place, whatever stands before it in the file.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator


def _in_order(words: tuple[int, int]) -> tuple[int, int]:
    fewest, most = words
    if not 1 <= fewest <= most:
        raise ValueError("two whole numbers, [fewest, most], the first at least 1")
    return words


PromptWords = Annotated[tuple[int, int], AfterValidator(_in_order)]


def split_prefix(text: str, words: tuple[int, int]) -> tuple[str, str] | None:
    """Return the text's opening words, and the rest with its leading space.

    Args:
        text: opening + rest, exactly.
        words: fewest and most words of an opening; each number between is equally likely.

    Returns:
        None where the text is too short to leave a word after the fewest opening words.
    """
    fewest, most = words
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    if len(ends) <= fewest:
        return None
    draw = int.from_bytes(sha256(b"opening:" + text.encode()).digest()[:8])
    count = min(fewest + draw % (most - fewest + 1), len(ends) - 1)
    end = ends[count - 1]
    return text[:end], text[end:]
