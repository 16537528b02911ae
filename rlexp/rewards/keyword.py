"""Whether words, phrases or concepts stand in a completion, in any language.

A concept is a list of phrases that say the same; any of them will do. A `*` at the end of a phrase
stands for any ending: `wonder*` is in `wonderful`, `영화*` in `영화가`. Widths and accents that are
encoded in several ways (`Ａ` and `A`, `’` and `'`) count as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from rlexp.rewards.base import texts_of
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text
from rlexp.spec.text import UNSPACED

_LETTER = rf"[^\W{UNSPACED}]"  # of a script that puts spaces between words


def _as_concept(phrases: object) -> object:
    return [phrases] if isinstance(phrases, str) else phrases


Concept = Annotated[list[str], BeforeValidator(_as_concept)]


class Keyword(RewardSpec):
    """Share of the wanted concepts that are there, minus share of the unwanted ones.

    In [0, 1] with `must` alone, in [-1, 0] with `must_not` alone, in [-1, 1] with both. A wanted
    concept that stands there k < `count` times counts k / `count`; an unwanted one counts whole. An
    empty completion scores 0.

    >>> wants = Keyword(name="keyword", must=[["happy end*", "大团圆"], "好"], must_not=["dull"],
    ...                 count=1, whole_words=True, match_case=False)
    >>> wants(["The film"] * 3, ["Happy  endings!", "结局很好，但 dull.", "It dulls."])
    [0.5, -0.5, 0.0]
    """

    must: list[Concept]
    """Words or phrases that are wanted; a list among them is a concept."""
    must_not: list[Concept]
    """Words, phrases or concepts that are unwanted."""
    count: int = Field(ge=1)
    """How often each wanted concept must be there for the full value."""
    whole_words: bool
    """`art` is not in `party`; scripts without spaces between words are searched as they are."""
    match_case: bool
    """Whether `Art` differs from `art`."""

    @field_validator("must", "must_not")
    @classmethod
    def _no_empty_phrase(cls, concepts: list[list[str]]) -> list[list[str]]:
        if not all(concepts) or not all(p.strip(" \t\n*") for c in concepts for p in c):
            raise ValueError("phrases that are not empty")
        return concepts

    @field_validator("must_not")
    @classmethod
    def _something_to_look_for(
        cls, must_not: list[list[str]], info: ValidationInfo
    ) -> list[list[str]]:
        must = info.data.get("must")
        if must is None:  # it has a mistake of its own
            return must_not
        if not must and not must_not:
            raise ValueError("at least one phrase, here or in `must`")
        wanted, unwanted = ({p for c in concepts for p in c} for concepts in (must, must_not))
        if both := sorted(wanted & unwanted):
            raise ValueError(f"phrases that are not wanted as well ({', '.join(both)})")
        return must_not

    def bounds(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.must else (-1.0, 0.0)

    def by_design(self) -> dict[StrategyKind, str]:
        if not self.must:
            why = "a text without the unwanted words is not punished, whatever it says"
            return dict.fromkeys(get_args(StrategyKind), why)
        why = "the wanted words earn wherever they stand"
        return {"answers": why, "echo": why, "repetition": why}

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        wanted = [self._pattern(concept) for concept in self.must]
        unwanted = [self._pattern(concept) for concept in self.must_not]
        values = []
        for text in texts_of(completions):
            normal = folded(text)
            reached = sum(min(len(p.findall(normal)), self.count) / self.count for p in wanted)
            violated = sum(p.search(normal) is not None for p in unwanted)
            values.append(reached / max(1, len(wanted)) - violated / max(1, len(unwanted)))
        return values

    def _pattern(self, concept: list[str]) -> re.Pattern[str]:
        return phrase_pattern(concept, self.whole_words, self.match_case)


def phrase_pattern(
    phrases: Iterable[str], whole_words: bool = True, match_case: bool = False
) -> re.Pattern[str]:
    """Return what finds phrases in a text that is `folded`; where several begin, the longest.

    >>> phrase_pattern(["can't", "cannot"]).findall(folded("I can’t. You CANNOT."))
    ["can't", 'CANNOT']
    """
    longest_first = sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase))
    alternatives = "|".join(_phrase(phrase, whole_words) for phrase in longest_first)
    return re.compile(f"(?:{alternatives})", 0 if match_case else re.IGNORECASE)


def folded(text: str) -> str:
    """Return the text with one code for what looks alike: widths, composed accents, apostrophes."""
    return unicodedata.normalize("NFKC", text).replace("’", "'")


def _phrase(phrase: str, whole_words: bool) -> str:
    """Return the regular expression of one phrase."""
    stem = phrase.strip()
    open_ended = stem.endswith("*")
    normal = folded(stem.removesuffix("*").rstrip())
    pattern = r"\s+".join(re.escape(part) for part in normal.split())
    if whole_words:
        before = rf"(?<!{_LETTER})" if re.match(_LETTER, normal[0]) else ""
        after = rf"(?!{_LETTER})" if re.match(_LETTER, normal[-1]) else ""
        pattern = before + pattern + (rf"{_LETTER}*" if open_ended else after)
    return pattern
