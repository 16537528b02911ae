"""What a probe finds: earnings of strategies, of references and of the model's own answers."""

from __future__ import annotations

from dataclasses import dataclass

from rlexp.spec.reward import StrategyKind, Value

REFERENCES, POLICY = "reference answers", "the model's own answers"


@dataclass(frozen=True)
class Example:
    """One answer and what it earns."""

    prompt: str
    answer: str
    reward: Value


@dataclass(frozen=True)
class Earnings:
    """What answers of one origin earn.

    Attributes:
        name: of the strategy, `REFERENCES` or `POLICY`.
        kind: of the strategy; None of the others.
        mean: over the answers that have a value; None where none has.
        interval: 95 %, over the prompts; None where it was not asked for or is not known.
        terms: each term's mean, for a mix.
        answers: how many there are.
        missing: how many of them have no value.
        failure: what the reward does on the first of these, where it fails.
        example: the one whose value is next to the mean.
        texts: the different answers.
    """

    name: str
    kind: StrategyKind | None
    mean: float | None
    interval: tuple[float, float] | None
    terms: dict[str, float | None]
    answers: int
    missing: int
    failure: str
    example: Example
    texts: tuple[str, ...]


@dataclass(frozen=True)
class RewardProbe:
    """What a reward pays.

    Attributes:
        reward: its name.
        rows: prompts.
        bounds: what an answer worth nothing earns, and the most that one can earn, as far as known.
        by_design: kinds of strategies that must earn, and why.
        earnings: the references first, then the model's own answers, as far as there are any; then
            the strategies in their order.
        seconds: that it took.
    """

    reward: str
    rows: int
    bounds: tuple[float | None, float | None]
    by_design: dict[StrategyKind, str]
    earnings: list[Earnings]
    seconds: float

    @property
    def references(self) -> Earnings | None:
        """What the data's own answers earn; None where it has none, or none has a value."""
        known = (earned for earned in self.earnings if earned.name == REFERENCES)
        return next((earned for earned in known if earned.mean is not None), None)

    @property
    def strategies(self) -> list[Earnings]:
        """What the strategies earn, as far as it is known."""
        return [
            earned
            for earned in self.earnings
            if earned.kind is not None and earned.mean is not None
        ]

    @property
    def nothing(self) -> float:
        """What an answer worth nothing earns; unknown: the worst strategy's mean, 0 at most."""
        if self.bounds[0] is not None:
            return self.bounds[0]
        return min([0.0, *(earned.mean for earned in self.strategies if earned.mean is not None)])
