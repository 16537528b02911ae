"""Whether words or phrases stand in a completion, in any language."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from rlexp.rewards.base import texts_of
from rlexp.spec.reward import RewardSpec, Text
from rlexp.spec.text import UNSPACED

_LETTER = rf"[^\W{UNSPACED}]"  # of a script that puts spaces between words


class Keyword(RewardSpec):
    """Share of the wanted phrases that are there, minus share of the unwanted ones.

    In [0, 1] with `must` alone, in [-1, 0] with `must_not` alone, in [-1, 1] with both. A wanted
    phrase that stands there k < `count` times counts k / `count`; an unwanted one counts whole. An
    empty completion scores 0.

    >>> wants = Keyword(name="keyword", must=["happy end", "好"], must_not=["dull"], count=1,
    ...                 whole_words=True, match_case=False)
    >>> wants(["The film"] * 3, ["A Happy  end!", "结局很好，但 dull.", "It dulls."])
    [0.5, -0.5, 0.0]
    """

    must: list[str]
    """Words or phrases that are wanted."""
    must_not: list[str]
    """Words or phrases that are unwanted."""
    count: int = Field(ge=1)
    """How often each wanted phrase must be there for the full value."""
    whole_words: bool
    """`art` is not in `party`; scripts without spaces between words are searched as they are."""
    match_case: bool
    """Whether `Art` differs from `art`."""

    @field_validator("must", "must_not")
    @classmethod
    def _no_empty_phrase(cls, phrases: list[str]) -> list[str]:
        if not all(phrase.strip() for phrase in phrases):
            raise ValueError("phrases that are not empty")
        return phrases

    @field_validator("must_not")
    @classmethod
    def _something_to_look_for(cls, must_not: list[str], info: ValidationInfo) -> list[str]:
        must = info.data.get("must")
        if must is None:  # it has a mistake of its own
            return must_not
        if not must and not must_not:
            raise ValueError("at least one phrase, here or in `must`")
        if both := sorted(set(must) & set(must_not)):
            raise ValueError(f"phrases that are not wanted as well ({', '.join(both)})")
        return must_not

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        wanted = [self._pattern(phrase) for phrase in self.must]
        unwanted = [self._pattern(phrase) for phrase in self.must_not]
        values = []
        for text in texts_of(completions):
            normal = unicodedata.normalize("NFC", text)
            found = sum(min(len(p.findall(normal)), self.count) / self.count for p in wanted)
            broken = sum(p.search(normal) is not None for p in unwanted)
            values.append(found / max(1, len(wanted)) - broken / max(1, len(unwanted)))
        return values

    def _pattern(self, phrase: str) -> re.Pattern[str]:
        normal = unicodedata.normalize("NFC", phrase.strip())
        pattern = r"\s+".join(re.escape(part) for part in normal.split())
        if self.whole_words:
            before = rf"(?<!{_LETTER})" if re.match(_LETTER, normal[0]) else ""
            after = rf"(?!{_LETTER})" if re.match(_LETTER, normal[-1]) else ""
            pattern = before + pattern + after
        return re.compile(pattern, 0 if self.match_case else re.IGNORECASE)
