"""What the rest of the house knows of a reward before it scores anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from rlexp.spec.errors import Problem
from rlexp.spec.part import Component
from rlexp.spec.schedule import UNIT, Weight
from rlexp.spec.text import Message, Text

__all__ = [
    "ENDED",
    "TOKENS",
    "WEIGHTED_SUM",
    "DataColumn",
    "DataColumns",
    "Message",
    "Normalize",
    "Place",
    "RewardSpec",
    "Scores",
    "Scoring",
    "StrategyKind",
    "Term",
    "Text",
    "Value",
]

Value = float | None
"""What a reward says of one completion; None where it cannot tell: the value is missing."""
DataColumn = list[Any]
"""A column of the data set that rewards read: values of whatever type it has, one a completion."""
DataColumns = dict[str, DataColumn]
TOKENS = "completion_ids"
"""Column beside the data's: the token ids of each completion, its end token included."""
ENDED = "completion_ended"
"""Column beside the data's: whether each completion ended, and was not cut at the length limit."""
WEIGHTED_SUM = "rollout/weighted_sum"
"""Metric of a reward that is whitened, so that its own mean is 0: the mean of its terms' sum."""
Place = Literal["workers", "here", "threads"]
Normalize = Literal["none", "zscore", "rank", "group"]
StrategyKind = Literal[
    "nothing", "echo", "answers", "repetition", "length", "form", "evasion", "injection"
]
"""What a cheap strategy does: says nothing, repeats the prompt, gives an answer without reading the
prompt, repeats a word, fills the room, keeps a form, evades, or speaks to a judge."""


@dataclass(frozen=True)
class Scores:
    """What a reward says of n completions.

    Attributes:
        total: (n,), what is learnt from. None in an evaluation where something is missing; a
            training always has a number.
        terms: of each named term of a mix (n,) values as the term gave them, before normalisation
            and weight. Empty for a single reward: its term would be the total.
    """

    total: Sequence[Value]
    terms: Mapping[str, Sequence[Value]]


class _Scorer(Protocol):
    """What scores as a reward does, and is none."""

    @property
    def scores_anything(self) -> bool:
        """False where there is no reward."""
        ...

    def score(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> Scores:
        """Total and terms of n completions; `columns` are the data's, n values each."""
        ...


@dataclass(frozen=True)
class Term:
    """One reward and what becomes of its values in the total."""

    reward: RewardSpec
    weight: Weight = UNIT
    normalize: Normalize = "none"
    clip: tuple[float, float] | None = None
    """Bounds of the value, normalised where it is."""
    needs: dict[str, float] = field(default_factory=dict)
    """Other terms by name, and the least value of theirs with which this one counts."""


class RewardSpec(Component):
    """A reward: its knobs, and a picklable callable with TRL's signature."""

    group: ClassVar[str] = "reward"
    scores_anything: ClassVar[bool] = True
    """False for `reward=none` alone."""
    place: ClassVar[Place] = "workers"
    """Where it runs. `workers`: in this process, or in others beside it, each with some completions
    of a batch; for what is picklable and judges each completion by itself. `here`: in this process
    with the whole batch; for a model on the device. `threads`: in a thread with the whole batch,
    while the others run; for what waits."""
    killable: ClassVar[bool] = False
    """Whether a reward that runs `here` may run in one process of its own instead, which can be
    killed: it needs no device. Those for `workers` always may."""

    def columns(self) -> set[str]:
        """Data columns that it reads beside prompt and completion."""
        return set()

    def reads_tokens(self) -> bool:
        """Whether it needs the columns `TOKENS` and `ENDED`, which the data does not have."""
        return False

    def penalised_from(self) -> float | None:
        """Return the tokens from which on an answer's length costs; None where it never does."""
        return None

    def row_problems(self, columns: DataColumns) -> list[tuple[int, Problem]]:
        """What its columns hold that it cannot score, by the row's index; read before training.

        `columns` are those of `columns()`, one value a row of the data.
        """
        return []

    def runs_in(self) -> Place:
        """`place`, where a knob does not decide."""
        return self.place

    def notes(self) -> list[str]:
        """What was decided on the way to scoring, in words for the card."""
        return []

    def bounds(self) -> tuple[float | None, float | None]:
        """Return what an answer that is worth nothing earns, and the most that one can earn.

        None where that is not known.
        """
        return None, None

    def by_design(self) -> dict[StrategyKind, str]:
        """Return the kinds of cheap strategies that must earn as much as answers, each with why."""
        return {}

    def empty_forms(self) -> list[str]:
        """Return texts of the form that it asks for, without content."""
        return []

    def reference_column(self) -> str | None:
        """Return the column whose values are right answers by themselves; None where none is."""
        return None

    def give_up(self) -> None:
        """Nobody waits for its values any more, as after Ctrl-C: a call under way in a thread is to
        end soon, by whatever exception."""

    def terms_by_name(self) -> dict[str, Term]:
        """What the total is made of; a single reward is one term without a name."""
        return {"": Term(self)}

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: list[Any]
    ) -> list[Value]:
        """Score n completions; `columns` are the data set's, one value a completion.

        None stands for a value that is missing, which is not 0: no right answer in the data, a
        judge whose words say nothing.
        """
        raise TypeError(f"{type(self).__name__} must score completions")

    def score(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> Scores:
        """Total and terms, as an evaluation has them."""
        return Scores(total=self(prompts, completions, **columns), terms={})


Scoring = RewardSpec | _Scorer
"""What an evaluation asks for numbers: a reward, or a run's scorer of it."""
