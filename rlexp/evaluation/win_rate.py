"""How often one policy's completion beats another's to the same prompt, by reward.

Each completion of the one is set against each of the other: k of each to a prompt make k² pairs. A
reward judges a completion by itself, so that the two orders in which a pair may be shown give the
same verdict, and each pair is asked once. A tie counts half. The rate is the mean over prompts
(for one prompt it is the Mann-Whitney statistic), with the bootstrap over prompts as its interval;
a policy against itself has 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.evaluation.results import Evaluation
from rlexp.spec.reward import Value

Rewards = Sequence[Sequence[Value]]
"""Of each prompt, the rewards of its completions."""


@dataclass(frozen=True)
class WinRate:
    """How often one policy's completions win against another's."""

    rate: float
    """Mean over prompts of the share of pairs that are won; ties count half."""
    ties: float
    """Mean over prompts of the share of pairs that are ties."""
    low: float | None
    """Ends of the rate's 95 % interval; None for a single prompt."""
    high: float | None


def win_rate_by_reward(
    first: Rewards, second: Rewards, resamples: int, seed: int
) -> WinRate | None:
    """Return how often the second wins on the prompts with a reward in both; None where there are
    none.
    """
    known = _wins_by_prompt(first, second)
    if not known:
        return None
    wins = [won for won, _ in known]
    ends = bootstrap_ratio(wins, [1.0] * len(wins), resamples, seed)
    ties = sum(tied for _, tied in known) / len(known)
    return WinRate(sum(wins) / len(wins), ties, *(ends or (None, None)))


def pairwise_wins(first: Sequence[Value], second: Sequence[Value]) -> tuple[float, float] | None:
    """Return the shares of the pairs that the second wins, ties counted half, and of the ties.

    >>> pairwise_wins([0.0, 1.0], [1.0, 2.0])
    (0.875, 0.25)
    >>> pairwise_wins([None], [1.0])
    """
    pairs = [(one, other) for one in first for other in second]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    if not known:
        return None
    ties = sum(one == other for one, other in known)
    won = sum(other > one for one, other in known)
    return (won + ties / 2) / len(known), ties / len(known)


def win_rate(before: Evaluation, after: Evaluation) -> float | None:
    """Return how often the policy after training beats that before; None without a reward.

    Raises:
        ValueError: the two evaluations are not of the same prompts.
    """
    prompts, others = len(before.per_prompt_reward), len(after.per_prompt_reward)
    if prompts != others:
        counts = f"{prompts} and {others} prompts"
        raise ValueError(f"evaluations of the same prompts are compared, got {counts}")
    known = _wins_by_prompt(before.rewards, after.rewards)
    return sum(won for won, _ in known) / len(known) if known else None


def _wins_by_prompt(first: Rewards, second: Rewards) -> list[tuple[float, float]]:
    shares = (pairwise_wins(one, other) for one, other in zip(first, second, strict=False))
    return [share for share in shares if share is not None]
