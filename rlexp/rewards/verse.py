"""Rhyme and metre of English verse, by the CMU Pronouncing Dictionary (through `pronouncing`).

Two lines rhyme where they sound alike from the last stressed vowel on and end with different words:
a word does not rhyme with itself. A line keeps its metre where its syllables are stressed as the
feet want them; it is measured by the edit distance between the two patterns of stress, in which a
word of one syllable takes either stress, as it does in English verse, and a secondary stress too.
Of several pronunciations the one that fits best counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from rlexp.rewards.base import texts_of, words_of
from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text

FEET = {"iamb": "01", "trochee": "10", "anapaest": "001", "dactyl": "100"}
"""Syllables of a foot, 1 stressed."""
_VOWELS = re.compile(r"[aeiouy]+")


class Verse(RewardSpec):
    """Mean of what is asked for, rhyme and metre, each in [0, 1]; an empty completion scores 0.

    Rhyme: the share of the pairs of lines that should rhyme and do, over as many stanzas as the
    text has begun, one at least; a line that is not there rhymes with none. Metre: the mean of the
    lines' 1 - distance / syllables. Words that the dictionary lacks rhyme by their last letters,
    from the last group of vowels on, and have a syllable of either stress for each such group.

    >>> couplet = Verse(name="verse", scheme="AA", foot="iamb", feet=4)
    >>> couplet(["Write"] * 2, ["I think that I shall never see\\na poem lovely as a tree",
    ...                         "I think that I shall never see\\na poem lovely as a house"])
    [1.0, 0.5]
    """

    scheme: str | None
    """A letter a line of the stanza, the same letter where lines rhyme (`AABB`, `ABAB`), `X` for a
    line that need not; null asks for no rhyme."""
    foot: Literal["iamb", "trochee", "anapaest", "dactyl"]
    """The foot: unstressed-stressed, stressed-unstressed, and so on."""
    feet: int | None = Field(ge=1)
    """Feet of a line (5 iambs are Shakespeare's pentameter); null asks for no metre."""

    @field_validator("scheme")
    @classmethod
    def _has_rhymes(cls, scheme: str | None) -> str | None:
        if scheme is not None and not (scheme.isalpha() and next(_rhyming_lines(scheme), None)):
            raise ValueError("null, or letters of which one stands there twice, such as AABB")
        return scheme

    @field_validator("feet")
    @classmethod
    def _asks_for_something(cls, feet: int | None, info: ValidationInfo) -> int | None:
        if feet is None and info.data.get("scheme", "") is None:
            raise ValueError("a number, or a rhyme scheme: otherwise nothing is asked for")
        return feet

    def problems(self) -> list[Problem]:
        return missing_packages("pronouncing", "verse", "reward")

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def by_design(self) -> dict[StrategyKind, str]:
        return {"answers": "good verse is good verse whatever was asked"}

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        return [self._value(text) for text in texts_of(completions)]

    def _value(self, text: str) -> float:
        words_by_line = [words_of(line.replace("’", "'").lower()) for line in text.splitlines()]
        lines = [words for words in words_by_line if words]
        if not lines:
            return 0.0
        values = [_rhyme_share(lines, self.scheme)] if self.scheme else []
        if self.feet:
            wanted = FEET[self.foot] * self.feet
            values.append(sum(_metre(tuple(words), wanted) for words in lines) / len(lines))
        return sum(values) / len(values)


def _rhyming_lines(scheme: str) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a stanza's lines, counted from 0, that rhyme."""
    for first, second in combinations(range(len(scheme)), 2):
        if scheme[first].upper() == scheme[second].upper() != "X":
            yield first, second


def _rhyme_share(lines: list[list[str]], scheme: str) -> float:
    starts = range(0, len(lines), len(scheme))
    pairs = [(start + a, start + b) for start in starts for a, b in _rhyming_lines(scheme)]
    last_words = [(lines[a][-1], lines[b][-1]) for a, b in pairs if b < len(lines)]
    return sum(rhyme(first, second) for first, second in last_words) / len(pairs)


def rhyme(first: str, second: str) -> bool:
    """Return whether two words of lower case rhyme.

    >>> rhyme("tree", "sea"), rhyme("tree", "tree"), rhyme("cough", "though")
    (True, False, False)
    """
    return first != second and not _endings(first).isdisjoint(_endings(second))


@lru_cache(maxsize=65536)
def _endings(word: str) -> frozenset[str]:
    """Return how the word may sound from its last stressed vowel on."""
    import pronouncing

    known = _pronunciations(word)
    if known:
        return frozenset(pronouncing.rhyming_part(phones) for phones in known)
    groups = list(_VOWELS.finditer(word))
    return frozenset([word[groups[-1].start() :] if groups else word])


@lru_cache(maxsize=65536)
def _pronunciations(word: str) -> tuple[str, ...]:
    import pronouncing

    whole = pronouncing.phones_for_word(word)
    parts = [pronouncing.phones_for_word(part) for part in word.split("-")]
    if not whole and len(parts) > 1 and all(parts):
        whole = [" ".join(part[0] for part in parts)]
    return tuple(whole)


@lru_cache(maxsize=4096)
def _metre(words: tuple[str, ...], wanted: str) -> float:
    """Return 1 - edit distance / length of the longer pattern; `?` takes either stress."""
    row = list(range(len(wanted) + 1))
    syllables = 0
    for word in words:
        patterns = _stresses(word)
        rows = [_edit_distances(row, pattern, wanted) for pattern in patterns]
        row = [min(column) for column in zip(*rows, strict=True)]
        syllables += min(len(pattern) for pattern in patterns)
    return max(0.0, 1.0 - row[-1] / max(len(wanted), syllables))


def _edit_distances(row: list[int], stresses: str, wanted: str) -> list[int]:
    """Return Levenshtein's row after some more syllables."""
    for stress in stresses:
        following = [row[0] + 1]
        for index, want in enumerate(wanted):
            differs = stress not in (want, "?")
            following.append(min(row[index] + differs, row[index + 1] + 1, following[-1] + 1))
        row = following
    return row


@lru_cache(maxsize=65536)
def _stresses(word: str) -> tuple[str, ...]:
    import pronouncing

    known = [pronouncing.stresses(phones) for phones in _pronunciations(word)]
    if not known:
        return ("?" * max(1, len(_VOWELS.findall(word))),)
    return tuple({"?" if len(stress) == 1 else stress.replace("2", "?") for stress in known})
