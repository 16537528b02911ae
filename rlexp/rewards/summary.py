"""How much of a reference is in a completion: ROUGE, by Google's rouge-score.

ROUGE-N compares n-grams of words, ROUGE-L the longest common subsequence, ROUGE-Lsum that of each
line (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop). Words are
cut as rouge-score cuts English, so that published figures are met; unlike there, letters beyond
a to z count too, and a character of a script without spaces is a word.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

from rlexp.rewards.base import column_of, texts_of
from rlexp.runtime.extras import missing_packages
from rlexp.spec.errors import Problem
from rlexp.spec.reward import DataColumn, RewardSpec, Text, Value
from rlexp.spec.text import UNSPACED

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")


class Summary(RewardSpec):
    """ROUGE of the completion against the column's text, in [0, 1]; an empty completion scores 0.

    Of several references (a list in the column) the best counts. A row without one, or with one
    that has no words, has no value.

    >>> like = Summary(name="summary", column="summary", rouge="rouge1", measure="f1", stem=True)
    >>> like(["Sum up"] * 3, ["the cat", "", "cats"], summary=["The cats sat.", "the cat", None])
    [0.8, 0.0, None]
    """

    column: str
    """Data column with the reference: a text, or a list of texts."""
    rouge: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
    """What is compared: words, pairs of words, the longest common subsequence, that of each line.
    """
    measure: Literal["f1", "recall", "precision"]
    """Recall alone rewards long texts, precision short ones."""
    stem: bool
    """Whether English words count as the same by their stems (Porter's)."""

    def problems(self) -> list[Problem]:
        return missing_packages("rouge_score", "rewards", "reward")

    def columns(self) -> set[str]:
        return {self.column}

    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def reference_column(self) -> str:
        return self.column

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        """Score n completions.

        Raises:
            UserError: the data lacks the column.
        """
        rows = zip(texts_of(completions), column_of(columns, self.column), strict=True)
        return [self._value(text, cell) for text, cell in rows]

    def _value(self, text: str, cell: str | list[str] | None) -> Value:
        references = [cell] if isinstance(cell, str) else cell or []
        references = [
            reference for reference in references if reference and _WORD.search(reference)
        ]
        if not references:
            return None
        scorer = _scorer(self.rouge, self.stem)
        scores = [scorer.score(reference, text)[self.rouge] for reference in references]
        measure = "fmeasure" if self.measure == "f1" else self.measure
        return max(float(getattr(score, measure)) for score in scores)


class _Tokenizer:
    """rouge-score's tokenizer for every script; of ASCII it makes the same."""

    def __init__(self, stem: bool) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem if stem else None

    def tokenize(self, text: str) -> list[str]:
        words = _WORD.findall(text.lower())
        if self._stem is None:
            return words
        return [self._stem(word) if len(word) > 3 else word for word in words]


@cache
def _scorer(rouge: str, stem: bool) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([rouge], tokenizer=_Tokenizer(stem))
