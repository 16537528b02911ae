"""What the rest of the house knows of a data set before it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from rlexp.spec.part import Component
from rlexp.spec.schedule import UNIT, Weight

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


SOURCE = "source"
"""Column of a mix's rows: the name of the data set that each is of."""


def source_key(name: str) -> str:
    """The full path of the config of a data set, by its name in a mix; a single one has none.

    >>> source_key("chat"), source_key("")
    ('data.sources.chat', 'data')
    """
    return f"data.sources.{name}" if name else "data"


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
    """What a run trains and evaluates on: a data set, or several of them mixed."""

    group: ClassVar[str] = "data"

    license: str | None
    """Licence of the texts as the hub spells it (`mit`); null: unknown, and the model card says
    so."""
    max_completion_length: int = Field(gt=0)
    """Longest completion to sample, in tokens."""

    grammatical: ClassVar[Callable[[str], float] | None] = None
    """Share of a text's sentences that are grammatical, for sources that can tell."""

    def kind(self) -> Kind:
        """The kind of its rows, known without reading all of them."""
        raise TypeError(f"{type(self).__name__} must say what kind of rows it has")

    def sources_by_name(self) -> dict[str, DataSource]:
        """The data sets by the names that a mix has for them; a single one has none (``).

        Raises:
            UserError: they have `problems`.
        """
        raise TypeError(f"{type(self).__name__} must say what data sets it is made of")

    def weights(self) -> dict[str, Weight]:
        """How much of the training is of each data set, by name; only their ratios count.

        Raises:
            UserError: they have `problems`.
        """
        return dict.fromkeys(self.sources_by_name(), UNIT)

    @property
    def source_names(self) -> list[str]:
        """The names of a mix's data sets, which stand in the column `source` of its rows; none of
        a single one."""
        return [name for name in self.sources_by_name() if name]

    def name_of(self, row: Mapping[str, Any]) -> str:
        """The name of the data set that a row is of."""
        return ""

    def source_of(self, row: Mapping[str, Any]) -> DataSource:
        """The data set that a row is of."""
        return self.sources_by_name()[self.name_of(row)]

    @property
    def longest_prompt(self) -> int:
        """Most tokens of a prompt that is let through."""
        return max(source.max_prompt_length for source in self.sources_by_name().values())


class DataSource(DataSpec):
    """A data set: where it is, how it is split and how its prompts are worded."""

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

    def sources_by_name(self) -> dict[str, DataSource]:
        return {"": self}

    def extra_columns(self) -> set[str] | None:
        """Columns beyond the canonical ones that rewards may read; None when not yet known."""
        return None

    def source_columns(self) -> set[str]:
        """Return all columns of the source by its own names, as far as they are known unread."""
        return set()

    def read(self) -> Rows:
        """Read the rows. Raises `UserError` naming file and line."""
        raise TypeError(f"{type(self).__name__} must read its rows")
