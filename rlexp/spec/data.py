"""What the rest of the house knows of a data set before it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from rlexp.spec.part import Component
from rlexp.spec.schedule import Weight

Kind = Literal["prompts", "pairs", "demonstrations", "unpaired"]

KIND_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "prompts": ("prompt",),
    "pairs": ("prompt", "chosen", "rejected"),
    "demonstrations": ("prompt", "completion"),
    "unpaired": ("prompt", "completion", "label"),
}

DERIVABLE: dict[Kind, dict[Kind, str]] = {
    "prompts": {
        "pairs": "the prompts of the pairs, answers left out",
        "demonstrations": "the prompts of the demonstrations, answers left out",
        "unpaired": "the prompts of the labelled texts, the rest left out",
    },
    "demonstrations": {
        "pairs": "the chosen answers of the pairs",
        "unpaired": "the texts with the label true",
    },
    "unpaired": {"pairs": "chosen answers labelled true, rejected ones false"},
    "pairs": {},
}
"""What a kind can honestly be made from, and how (said in the card)."""


def _with_prompt(template: str) -> str:
    if "{prompt}" not in template:
        raise ValueError("a template holding {prompt} is wanted")
    return template


PromptTemplate = Annotated[str, AfterValidator(_with_prompt)]


@dataclass(frozen=True)
class Rows:
    """What a source holds, in canonical columns (`KIND_COLUMNS` of its kind, and extra ones).

    A prompt is a string or a list of messages; beside a string may stand `system_turn`, what the
    system says before it. Texts that were cut into prompt and completion carry
    the prompt's text in `opening` as well, so that a reward can judge the whole.
    """

    train: list[dict[str, Any]]
    heldout: list[dict[str, Any]] | None
    """The source's own test split; None where rows are to be split by hash."""
    source: str
    """Where they came from: a path, a hub id with revision, or the generator's name."""
    notes: list[str] = field(default_factory=list)
    """What was done to the rows, in words for the card."""
    places: list[str] = field(default_factory=list)
    """Where each row of `train` stands, as `file:line`; empty where rows are generated."""
    heldout_places: list[str] = field(default_factory=list)
    """The same of `heldout`."""
    repeated: frozenset[str] = frozenset()
    """Columns whose values a canonical column has as well: rewards read them, digests do not."""


class DataSpec(Component):
    """A data set: where it is, how it is split and how its prompts are worded."""

    license: str | None
    """Licence of the texts as the hub spells it (`mit`); null: unknown, and the model card says
    so."""
    eval_fraction: float = Field(gt=0, lt=1)
    """Share of the rows held out, by a hash of each row (stable when rows are added)."""
    max_rows: int | None = Field(gt=0)
    """At most so many training rows, drawn by a hash of each row; null takes all."""
    text_prompt: PromptTemplate
    """How a plain prompt is worded for a model without chat; holds {prompt}."""
    chat_prompt: PromptTemplate
    """How a plain prompt is worded as the user's turn for a chat model; holds {prompt}."""
    max_prompt_length: int = Field(gt=0)
    """Longest prompt, in tokens; longer ones are dropped, and counted in the card."""
    max_completion_length: int = Field(gt=0)
    """Longest completion to sample, in tokens."""

    grammatical: ClassVar[Callable[[str], float] | None] = None
    """Share of a text's sentences that are grammatical, for sources that can tell."""

    def kind(self) -> Kind:
        """The kind of its rows, known without reading all of them."""
        raise TypeError(f"{type(self).__name__} must say what kind of rows it has")

    def extra_columns(self) -> set[str] | None:
        """Columns beyond the canonical ones that rewards may read; None when not yet known."""
        return None

    def source_columns(self) -> set[str]:
        """Return all columns of the source by its own names, as far as they are known unread."""
        return set()

    def weights(self) -> dict[str, Weight]:
        """How much of the training is of each data set, by name; only their ratios count."""
        return {}

    def read(self) -> Rows:
        """Read the rows. Raises `UserError` naming file and line."""
        raise TypeError(f"{type(self).__name__} must read its rows")
