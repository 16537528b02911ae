"""Strategies that pay, recognised in what a policy writes: for the guards to watch.

An answer looks like a strategy's where nine of ten words agree, in their order; like a repeated
word where it has few different ones. What looks like a good answer (another row's) or has a guard
of its own (length) is not watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from rlexp.probing.material import Material
from rlexp.probing.strategies import STRATEGIES
from rlexp.probing.verdict import ProbeVerdict
from rlexp.spec.reward import StrategyKind

ALIKE = 0.9
"""Share of two texts' words that agree in their order (Ratcliff and Metzener 1988)."""
FEW = 0.25
"""Share of different words below which a text repeats itself."""
KEPT = 8
"""Texts of a strategy that answers are compared with."""
UNWATCHED = {"another row's answer", "the longest answer allowed"}


@dataclass(frozen=True)
class PaidStrategy:
    """A strategy that a reward pays for."""

    name: str
    kind: StrategyKind
    texts: tuple[str, ...]
    """What it says, where that does not depend on the prompt."""

    def looks_like(self, prompt: str, answer: str) -> bool:
        """Return whether an answer to a prompt is the strategy's, or nearly."""
        if self.kind == "repetition":
            words = answer.casefold().split()
            return len(words) >= 4 and len(set(words)) <= FEW * len(words)
        texts = self._echoes(prompt) if self.kind == "echo" else self.texts
        return any(_alike(text, answer) for text in texts)

    def _echoes(self, prompt: str) -> list[str]:
        strategy = next(earned for earned in STRATEGIES if earned.name == self.name)
        alone = Material([prompt], [prompt], [None], {}, words=1)
        return [text for [text] in strategy.variants(alone) if text is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PaidStrategy:
        """Undo `to_dict`."""
        return cls(fields["name"], fields["kind"], tuple(fields["texts"]))


def watched_strategies(verdict: ProbeVerdict) -> list[PaidStrategy]:
    """Return the strategies that pay, by design or not, as far as a policy's answers show them."""
    return [
        PaidStrategy(earned.name, earned.kind, () if earned.kind == "echo" else earned.texts[:KEPT])
        for earned in verdict.paid
        if earned.kind is not None and earned.name not in UNWATCHED
    ]


def _alike(text: str, answer: str) -> bool:
    one, other = text.casefold().split(), answer.casefold().split()
    return one == other or SequenceMatcher(None, one, other, autojunk=False).ratio() >= ALIKE
