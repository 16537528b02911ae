"""How positive a text is, by the VADER lexicon.

VADER's compound score sums the valences of a text's words, changed by rules for negation, degree
("very"), capitals and punctuation, and squashes the sum x to x / sqrt(x² + 15) (Hutto & Gilbert
2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM).
The lexicon is English: other languages score 0.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from rlexp.rewards.base import texts_of
from rlexp.spec.reward import RewardSpec, Text


class Sentiment(RewardSpec):
    """VADER's compound score, in [-1, 1]; 0 for a text without words of the lexicon.

    An empty completion scores 0, or in the scope `whole` what its opening scores.

    >>> judge = Sentiment(name="sentiment", scope="completion")
    >>> judge(["The film"] * 3, [" was wonderful.", " was awful.", ""])
    [0.5719, -0.4588, 0.0]
    """

    scope: Literal["whole", "completion"]
    """`whole` judges opening and completion as one text where the data was cut from texts;
    `completion` what the policy wrote alone."""

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[float]:
        openings = columns.get("opening") if self.scope == "whole" else None
        return [_compound(text) for text in texts_of(completions, openings)]


def _compound(text: str) -> float:
    return float(_analyzer().polarity_scores(text)["compound"])


@cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
