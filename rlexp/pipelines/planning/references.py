"""References to what another stage makes: `${stage:sft}` in the words of a stage.

`${stage:dpo,sft}`, in a loop, is what `dpo` made in the round before, and in the first round what
`sft` made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

RANKING = re.compile(r"\$\{reward:([^{}]*)\}")
"""`eval.gold: ${reward:NAME}`: what ranked the pairs that a stage learnt from, if a reward did."""
REFERENCE = re.compile(r"\$\{stage:([^{}]*)\}")


def references(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the names of each reference in a value; several where there is one to fall back on."""
    if isinstance(value, str):
        for match in REFERENCE.finditer(value):
            yield tuple(name.strip() for name in match[1].split(","))
    elif isinstance(value, list):
        for element in value:
            yield from references(element)


def replaced(value: Any, replacement: Callable[[tuple[str, ...]], str]) -> Any:
    """Return a value with another text in the place of each reference, made of its names."""
    if isinstance(value, str):
        return REFERENCE.sub(
            lambda match: replacement(tuple(name.strip() for name in match[1].split(","))), value
        )
    if isinstance(value, list):
        return [replaced(element, replacement) for element in value]
    return value
