"""What the rest of the house knows of a curriculum: how training rows are ordered and weighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from rlexp.spec.errors import Problem
from rlexp.spec.part import Component, Part
from rlexp.spec.schedule import Weight
from rlexp.spec.text import Text


class RowMeasures(Protocol):
    """What a curriculum may ask of a run's policy and reward before the training."""

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        """Return the tokens of each text or conversation, by the policy's tokenizer."""
        ...

    def sampled_rewards(
        self, rows: Sequence[dict[str, Any]], completions: int, temperature: float
    ) -> list[list[float]]:
        """Return the rewards of the policy's own answers to each row's prompt, those it has."""
        ...


class Pacer(Protocol):
    """What says how much of the sorted rows is open."""

    def share(self, step: int) -> float:
        """Return the open share, in (0, 1], when so many optimizer steps are done."""
        ...

    def observe(self, step: int, reward: float, steps_a_batch: int) -> None:
        """Take in the mean reward of the rollouts that a step has learnt from."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep, as plain values; {} where the steps decide alone."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        ...


class Pace(Part):
    """How fast rows are opened, from the easy ones to all."""

    by: Literal["step", "reward"]
    """`step`: the open share grows with the steps. `reward`: the next part is opened when the
    rollouts' mean reward has reached `threshold`."""
    start: float = Field(gt=0, le=1)
    """Share of the rows that is open at first; never fewer rows than a batch has."""
    schedule: Literal["linear", "root"]
    """How the share grows by step (Platanios et al. 2019, arXiv:1903.09848): `linear` opens as many
    rows a step; `root`, c(t) = sqrt(t (1 - c0^2) / T + c0^2), as many as there is time for each."""
    steps: int | None = Field(gt=0)
    """Optimizer steps until all rows are open, by step; null takes half of `train.max_steps`."""
    parts: int = Field(gt=0)
    """Equal parts in which the rest is opened by reward, one at a time."""
    threshold: float | None
    """Mean reward of the rollouts, over `window` batches, that opens the next part by reward."""
    window: int = Field(gt=0)
    """Batches of rollouts over which the reward is averaged."""
    patience: int | None = Field(gt=0)
    """Batches after which the next part is opened whatever the reward; null waits for ever."""

    def problems(self) -> list[Problem]:
        """What a pace by reward lacks."""
        if self.by == "step" or self.threshold is not None:
            return []
        want = "the mean reward that opens the next part"
        remedy = "Set curriculum.pace.threshold=0.5, in units of the reward."
        return [Problem("curriculum.pace.threshold", "null", want, remedy)]


class CurriculumSpec(Component):
    """A curriculum: which training rows a step draws, and how often."""

    draws: ClassVar[bool] = True
    """False where the trainer's own random order is left as it is."""
    weighs: ClassVar[bool] = False
    """Whether it says what share of the draws each value of its column has."""
    samples: ClassVar[bool] = False
    """Whether the policy answers the prompts before the training, and the reward judges that."""

    @property
    def opening(self) -> Pace | None:
        """How rows are opened from the easy ones on; None where all are open."""
        return getattr(self, "pace", None)

    @property
    def column_read(self) -> str | None:
        """The data's column that it reads, if it reads one."""
        return getattr(self, "column", None)

    @property
    def most_rows(self) -> int | None:
        """How many rows it looks at, if not at all; the training draws from these alone."""
        return None

    def check_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Look at the data's rows before anything is loaded.

        Raises:
            UserError: rows that cannot be ordered or weighted.
        """

    def difficulty(
        self, rows: Sequence[dict[str, Any]], measures: RowMeasures
    ) -> list[float | None] | None:
        """Return how late each row is to come; None leaves a row out, and no list has no order.

        Raises:
            UserError: rows that cannot be ordered.
        """
        return None

    def shares(self) -> dict[str, Weight]:
        """Return what share of the draws each value of the column has; {}: as rows come."""
        return {}
