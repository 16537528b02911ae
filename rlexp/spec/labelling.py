"""How people's judgements in a file become a data set: the words of `python -m rlexp import`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rlexp.spec.part import Part

Shape = Literal["pairs", "ratings"]
RowFormat = Literal["pairs", "completions", "labelled"]


def _spelled(value: Any) -> Any:
    """Return keys and values as they are typed: yaml makes numbers and truth values of some."""
    if isinstance(value, dict):
        return {_spelled(key): _spelled(meaning) for key, meaning in value.items()}
    if isinstance(value, list):
        return [_spelled(entry) for entry in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _folder_name(name: str | None) -> str | None:
    if name is not None and (not name.strip("/. ") or "/" in name or name.startswith(".")):
        raise ValueError("a folder's name, without slashes and no dot in front")
    return name


class FeedbackColumns(Part):
    """Where a record keeps what: a column's name, or a path into nested values."""

    prompt: str | None
    """What was asked."""
    a: str | None
    """Of pairs, the answer that was shown first."""
    b: str | None
    """Of pairs, the answer that was shown second."""
    winner: str | None
    """Of pairs, which answer is better."""
    name_a: str | None
    """Of pairs, what `winner` calls the first answer in this record."""
    name_b: str | None
    """Of pairs, what `winner` calls the second answer in this record."""
    answer: str | None
    """Of ratings, the answer that was judged."""
    score: str | None
    """Of ratings, how good it is."""
    annotator: str | None
    """Who judged."""
    status: str | None
    """Whether the judgement counts: drafts and discarded ones do not."""


class ImportSpec(Part):
    """How a file of judgements is read, and what its rows become."""

    shape: Shape | None
    """Whether a judgement is of two answers or of one; null looks at the columns."""
    encoding: str | None
    """Of the file's texts, as Python calls it."""
    columns: FeedbackColumns
    """Where a record keeps what."""
    labels: Annotated[dict[str, str], BeforeValidator(_spelled)]
    """What values of `winner` or `score` mean: a, b, tie, a number, or skip."""
    roles: dict[str, str]
    """Who speaks in turns of a role that no chat template knows."""
    ignored_keys: list[str]
    """Keys of turns that are left out."""
    extra: list[str]
    """Further columns that are kept in the rows: the value of the first line of an item."""
    without: Annotated[list[str], BeforeValidator(_spelled)]
    """Annotators whose judgements are left out."""
    on_error: Literal["stop", "skip"]
    """Whether a line that cannot be right ends the import, or is left out and counted."""
    contradictions: Literal["drop", "last"]
    """Of different verdicts by one person on one item none counts, or the last in the file."""
    votes: Literal["majority", "each"]
    """One row an item, by most votes or the mean score; or one a person and item."""
    min_votes: int = Field(ge=1)
    """Verdicts that an item needs to become a row."""
    min_agreement: float = Field(ge=0, le=1)
    """Share of an item's verdicts that its winner needs."""
    ties: Literal["drop", "both"]
    """What pairs without a winner become. `both` is half a win for each answer, as ties count in
    the fit of a Bradley-Terry model (Chiang et al. 2024, arXiv:2403.04132)."""
    rows: RowFormat | None
    """What ratings become; null: pairs where prompts have several answers, labelled for yes/no."""
    margin: float = Field(ge=0)
    """Difference of mean scores up to which two answers are tied."""
    threshold: float | None
    """Mean score from which an answer's label is true."""
    to: str = Field(min_length=1)
    """Folder that holds the data sets."""
    name: Annotated[str | None, AfterValidator(_folder_name)]
    """The data set's folder in `to`; null takes the name of the first file."""
    bootstrap: int = Field(gt=0)
    """Resamples of the items behind the 95 % intervals."""
    seed: int = Field(ge=0)
    """Of the resamples."""
