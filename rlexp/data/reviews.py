"""Short film reviews that rlexp makes itself, from a grammar whose probabilities are known."""

from __future__ import annotations

from pydantic import Field

from rlexp.builtin.grammar import grammatical, sample_reviews
from rlexp.data.parsing.truncation import PromptWords, split_prefix
from rlexp.spec.data import DataSource, Kind, Rows


class Reviews(DataSource):
    """Reviews cut into opening and continuation, labelled true where they are positive.

    Mixed reviews are labelled false, as negative ones: they are not what is asked for.
    """

    size: int = Field(gt=1)
    """Reviews, all different."""
    seed: int = Field(ge=0)
    """Of the reviews."""
    prompt_words: PromptWords
    """Fewest and most opening words that become the prompt."""

    grammatical = staticmethod(grammatical)

    def kind(self) -> Kind:
        return "unpaired"

    def extra_columns(self) -> set[str]:
        return set()

    def read(self) -> Rows:
        rows = []
        for review in sample_reviews(self.size, self.seed):
            parts = split_prefix(review.text, self.prompt_words)
            if parts is None:
                continue
            opening, rest = parts
            label = review.label == "positive"
            row = {"prompt": opening, "opening": opening, "completion": rest, "label": label}
            rows.append(row)
        return Rows(rows, None, f"rlexp.grammar, {self.size} reviews, seed {self.seed}")
