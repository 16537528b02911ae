"""How a text is written: formal, polite, or at the reading level of a school grade. English.

How well each measures what it says; `tests/rewards/test_style.py` repeats most of it. AUC is the
probability that a text of the first kind has the higher value; 0.5 is chance.

| measure | first kind, second kind | result |
|---|---|---|
| formality | 20 sentences, the same content colloquially | AUC 1.00 |
| | paragraphs of the Apache licence, turns of 8 to 20 words of people in HH-RLHF | AUC 0.92 |
| | turns of assistants in HH-RLHF, of the people who ask them | AUC 0.49 |
| politeness | 20 requests and remarks, the same rudely | AUC 0.999 |
| | turns of assistants in HH-RLHF, of the people who bait them, 8 words or more | AUC 0.55 |
| | the same, 8 to 20 words (in another split) | AUC 0.61 (0.65) |
| readability | median grade of GSM8K's questions, of the Apache licence | 5.2, 13.9 |

The 20 pairs have the same author as the word lists and are no independent evidence. On real text
formality tells contracts from chat, but not two kinds of chat; politeness is weak, and the turns
were not labelled for it. Where it matters, take a classifier or `reward=judge`.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from rlexp.rewards.base import texts_of, words_of
from rlexp.rewards.common.style_lexicons import formality, politeness
from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, RewardSpec, StrategyKind, Text

LEXICONS = {"formality": formality, "politeness": politeness}


class Style(RewardSpec):
    """Formality or politeness in [-1, 1], or closeness to a reading level in [0, 1].

    Formality and politeness are counted from words and signs (`common.style_lexicons`): a policy
    that only learns the words is paid as well: keep the KL coefficient, and read the samples. An
    empty completion scores 0. Readability is max(0, 1 - |grade - target| / width), with the grade
    by textstat, 0 to 18; it is 0 for a text without words.

    >>> polite = Style(name="style", measure="politeness", formula="coleman_liau_index", target=6,
    ...                width=4)
    >>> [round(value, 2) for value in polite(["Ask"] * 2, ["Could you help? Thanks.", "Help me."])]
    [0.91, 0.2]
    """

    measure: Literal["formality", "politeness", "readability"]
    """What is measured."""
    formula: Literal["coleman_liau_index", "automated_readability_index"]
    """Of readability: letters a word and sentences a word (Coleman & Liau 1975), or characters a
    word and words a sentence (Smith & Senter 1967). Both give school grades of the USA and, unlike
    Flesch's, need no dictionary of syllables."""
    target: float = Field(ge=0, le=18)
    """Of readability: the wanted grade; 5 is a child of ten, 9 a newspaper, 14 a contract."""
    width: float = Field(gt=0)
    """Of readability: distance from the target, in grades, at which the value reaches 0."""

    def problems(self) -> list[Problem]:
        if self.measure != "readability":
            return []
        return missing_packages("textstat", "rewards", "reward.measure")

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def by_design(self) -> dict[StrategyKind, str]:
        if self.measure == "readability":
            why = "any words of the right length read as easily"
            return {kind: why for kind in get_args(StrategyKind) if kind != "nothing"}
        why = "words and signs are counted, whatever they say"
        return {"answers": why, "repetition": why, "form": why, "injection": why}

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        texts = texts_of(completions)
        if self.measure == "readability":
            return [self._closeness(text) for text in texts]
        return [LEXICONS[self.measure](text) for text in texts]

    def _closeness(self, text: str) -> float:
        if not words_of(text):
            return 0.0
        return max(0.0, 1.0 - abs(grade(text, self.formula) - self.target) / self.width)


def grade(text: str, formula: str) -> float:
    """Return the school grade, 0 to 18, in which pupils can read a text."""
    import textstat

    return min(18.0, max(0.0, float(getattr(textstat, formula)(text))))
