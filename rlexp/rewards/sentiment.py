"""How positive a text is, by the VADER lexicon or by any sequence classifier.

VADER's compound score sums the valences of a text's words, changed by rules for negation, degree
("very"), capitals and punctuation, and squashes the sum x to x / sqrt(x² + 15) (Hutto & Gilbert
2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM).
The lexicon is English: other languages score 0.

A classifier, of any language, is asked with `reward.path=FOLDER`: a folder, `run:ID`,
`registry:NAME@ALIAS` or a hub id.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationInfo, field_validator

from rlexp.rewards.base import texts_of
from rlexp.rewards.common.classifier import (
    MaybeClassifier,
    class_indices,
    classifier_problems,
    missing_classes,
    unnamed_classes,
)
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, StrategyKind, Text

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer


class Sentiment(MaybeClassifier):
    """VADER's compound score, or P(positive) - P(negative) of a classifier, in [-1, 1].

    VADER gives 0 to a text without words of its lexicon. An empty completion scores 0, or in the
    scope `whole` what its opening scores; a classifier says of it what it says of an empty text.

    >>> vader = Sentiment(name="sentiment", scope="completion", path=None, positive=["positive"],
    ...                   negative=["negative"], revision=None, device="cpu", batch_size=64,
    ...                   max_length=512)
    >>> vader(["The film"] * 3, [" was wonderful.", " was awful.", ""])
    [0.5719, -0.4588, 0.0]
    """

    scope: Literal["whole", "completion"]
    """`whole` judges opening and completion as one text where the data was cut from texts;
    `completion` what the policy wrote alone."""
    path: str | None
    """A classifier: its folder, the folder of a run, `run:ID`, `registry:NAME@ALIAS` or a hub id;
    null takes VADER."""
    positive: list[str]
    """Names that the classifier's positive classes may have, upper and lower case alike."""
    negative: list[str]
    """Names that its negative classes may have; what remains is neutral."""

    @field_validator("negative")
    @classmethod
    def _not_both(cls, negative: list[str], info: ValidationInfo) -> list[str]:
        positive = {name.casefold() for name in info.data.get("positive", [])}
        if both := sorted({name.casefold() for name in negative} & positive):
            raise ValueError(f"names that are not in `positive` as well ({', '.join(both)})")
        return negative

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def by_design(self) -> dict[StrategyKind, str]:
        kinds: dict[StrategyKind, str] = {"answers": "a happy text is happy whatever was asked"}
        if self.path is None:
            kinds["repetition"] = "VADER adds up the words of its lexicon"
        return kinds

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[float]:
        openings = columns.get("opening") if self.scope == "whole" else None
        texts = texts_of(completions, openings)
        if self.path is None:
            return [_compound(text) for text in texts]
        probabilities = self.probabilities(self.path, texts)
        folder = Path(self.folder_of(self.path))
        good, bad = (class_indices(folder, names) for names in (self.positive, self.negative))
        return (probabilities[:, good].sum(-1) - probabilities[:, bad].sum(-1)).tolist()

    def misfits(self, folder: Path) -> list[Problem]:
        wanted = {"reward.positive": self.positive, "reward.negative": self.negative}
        missing = [
            problem
            for key, names in wanted.items()
            for problem in missing_classes(folder, names, key)
        ]
        problems = classifier_problems(folder, scores=False)
        return problems or [*missing, *unnamed_classes(folder, wanted)]


def _compound(text: str) -> float:
    return float(analyzer().polarity_scores(text)["compound"])


@cache
def analyzer() -> SentimentIntensityAnalyzer:
    """Return VADER, whose lexicon is read once a process."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
