"""What each annotator does, beside the others, and what all of them lean to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import numpy as np

from rlexp.data.parsing.conversations import plain_text
from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.labelling.agreement import (
    Agreement,
    Level,
    cohen_kappa,
    count_table,
    fleiss_kappa,
    krippendorff_alpha,
    measured,
    observed_agreement,
)
from rlexp.labelling.items import Item, Vote
from rlexp.spec.labelling import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_ALIKE, RARE = 8, 0.01
"""Verdicts from which one who always says the same is told so, if so many in a row would come up
less often than this by the share that the verdict has among the others'."""
FEWEST_SHARED = 20
"""Items shared with others from which an annotator's agreement with them is judged."""
MOST_LEFT_OUT = 20
"""Annotators, those with most verdicts, of whom is told how far the others agree."""


@dataclass(frozen=True)
class Profile:
    """One annotator."""

    name: str
    verdicts: int
    shared: int
    """Items that others judged as well."""
    kappa: Agreement | None
    """Cohen's kappa with the others on these items, by squared distance for ratings."""
    alpha_without: float | None
    """Krippendorff's alpha of the others alone."""
    always: float | None
    """The verdict that is never another one, as it was shown."""
    first: float | None
    """Pairs: share of the won ones that the answer shown first won."""
    ties: float | None
    """Pairs: share of ties."""
    mean: float | None
    """Ratings: the mean score."""
    spread: float | None
    """Ratings: the scores' standard deviation."""
    above_others: float | None
    """Ratings: how much higher than the others' mean on the items shared with them."""


@dataclass(frozen=True)
class Lean:
    """How often the won verdicts went to one side, whatever the answers say."""

    share: float
    interval: tuple[float, float] | None
    """95 %, by the bootstrap over items."""
    verdicts: int


def agreements(
    items: Sequence[Item], shape: Shape, resamples: int, seed: int
) -> tuple[list[Agreement], Level]:
    """Return the measures of agreement of all annotators, and the level that such verdicts have.

    Cohen's kappa is among them where two people judged. Choices among answers are nominal, scores
    are ordinal (and interval, where their distances mean something).
    """
    counts, categories = _table(items)
    several = int((counts.sum(axis=1) > 1).sum())
    levels: tuple[Level, ...] = ("nominal", "ordinal")
    if shape == "ratings" and len(categories) > 2:
        levels = ("ordinal", "interval", "nominal")
    elif len(categories) < 3:
        levels = ("nominal",)
    shared = counts[counts.sum(axis=1) > 1]  # others have no part in these, nor in their resamples
    alphas = {
        f"Krippendorff's alpha, {level}": krippendorff_alpha(shared, categories, level)
        for level in levels
    }
    measures = {
        "equal verdicts": (observed_agreement(shared), several),
        **{name: (alpha, several) for name, alpha in alphas.items()},
        "Fleiss' kappa": (fleiss_kappa(counts), len(counts) if several else 0),
    }
    results = [
        measured(name, statistic, among, several, resamples, seed)
        for name, (statistic, among) in measures.items()
    ]
    names = annotator_names(items)
    if len(names) == 2:
        results += _of_two(
            items, names[0], len(categories) > 2 and shape == "ratings", resamples, seed
        )
    return results, levels[0]


def annotator_names(items: Sequence[Item]) -> list[str]:
    """Return the annotators that are known, by name."""
    return sorted(
        {vote.annotator for item in items for vote in item.votes if vote.annotator is not None}
    )


def profiles(
    items: Sequence[Item], shape: Shape, level: Level, resamples: int, seed: int
) -> list[Profile]:
    """Return what each annotator does; none where no names are known."""
    own: dict[str, list[tuple[Vote, list[float]]]] = {name: [] for name in annotator_names(items)}
    for item in items:
        for vote in item.votes:
            if vote.annotator is not None:
                others = [other.value for other in item.votes if other is not vote]
                own[vote.annotator].append((vote, others))
    of_all = Counter(vote.as_shown for item in items for vote in item.votes)
    busiest = sorted(own, key=lambda name: -len(own[name]))[:MOST_LEFT_OUT] if len(own) > 2 else []
    return [
        Profile(
            name=name,
            verdicts=len(judged),
            shared=sum(bool(others) for _, others in judged),
            kappa=_with_others(judged, shape == "ratings", resamples, seed),
            alpha_without=_alpha_without(items, name, level) if name in busiest else None,
            **_habits(judged, shape, of_all),
        )
        for name, judged in own.items()
    ]


def lean(
    items: Sequence[Item], side: Callable[[Item, Vote], bool | None], resamples: int, seed: int
) -> Lean | None:
    """Return how often verdicts go to a side; None where no verdict could.

    Args:
        items: pairs.
        side: whether a verdict goes there; None where that is no question.
        resamples: of the items.
        seed: of the resamples.
    """
    sums, counts = [], []
    for item in items:
        sides = [side(item, vote) for vote in item.votes if vote.value]
        went = [bool(there) for there in sides if there is not None]
        if went:
            sums.append(sum(went))
            counts.append(len(went))
    if not counts:
        return None
    return Lean(
        sum(sums) / sum(counts), bootstrap_ratio(sums, counts, resamples, seed), sum(counts)
    )


def went_to_first(item: Item, vote: Vote) -> bool:
    """Return whether the answer that was shown first won."""
    return vote.as_shown > 0


def went_to_longer(item: Item, vote: Vote) -> bool | None:
    """Return whether the answer with more characters won; None where both have as many."""
    first, second = (len(plain_text(answer)) for answer in item.answers)
    return None if first == second else (vote.value > 0) == (first > second)


def _table(items: Sequence[Item], without: str | None = None) -> tuple[NDArray, NDArray]:
    """Return `count_table` of items, perhaps without one annotator's verdicts."""
    votes = [
        (number, vote.value)
        for number, item in enumerate(items)
        for vote in item.votes
        if without is None or vote.annotator != without
    ]
    return count_table([number for number, _ in votes], [value for _, value in votes])


def _of_two(
    items: Sequence[Item], one: str, graded: bool, resamples: int, seed: int
) -> list[Agreement]:
    pairs = []
    for item in items:
        by_name = {vote.annotator: vote.value for vote in item.votes if vote.annotator is not None}
        if len(by_name) == 2:
            mine = by_name.pop(one)
            pairs.append((mine, *by_name.values()))
    if not pairs:
        return []
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    kinds = {"Cohen's kappa": False, **({"Cohen's kappa, squared weights": True} if graded else {})}
    return [
        measured(
            name,
            cohen_kappa(range(len(pairs)), first, second, squared=squared),
            len(pairs),
            len(pairs),
            resamples,
            seed,
        )
        for name, squared in kinds.items()
    ]


def _with_others(
    own: Sequence[tuple[Vote, list[float]]], squared: bool, resamples: int, seed: int
) -> Agreement | None:
    shared = [(vote.value, others) for vote, others in own if others]
    triples = [
        (number, mine, other) for number, (mine, others) in enumerate(shared) for other in others
    ]
    if not triples:
        return None
    item, mine, theirs = zip(*triples, strict=True)
    kappa = cohen_kappa(item, mine, theirs, squared=squared)
    return measured("Cohen's kappa", kappa, len(shared), len(shared), resamples, seed)


def _alpha_without(items: Sequence[Item], name: str, level: Level) -> float | None:
    counts, values = _table(items, without=name)
    (alpha,) = krippendorff_alpha(counts, values, level)(np.ones((1, len(counts))))
    return float(alpha) if np.isfinite(alpha) else None


def _is_always_the_same(shown: Sequence[float], of_all: Counter[float]) -> bool:
    if len(shown) < FEWEST_ALIKE or len(set(shown)) > 1:
        return False
    others = of_all.total() - len(shown)
    usual = (of_all[shown[0]] - len(shown)) / others if others else 0.5
    return usual ** len(shown) < RARE


def _habits(
    own: Sequence[tuple[Vote, list[float]]], shape: Shape, of_all: Counter[float]
) -> dict[str, float | None]:
    shown = [vote.as_shown for vote, _ in own]
    habits: dict[str, float | None] = dict.fromkeys(
        ("first", "ties", "mean", "spread", "above_others")
    )
    habits["always"] = shown[0] if _is_always_the_same(shown, of_all) else None
    if shape == "pairs":
        won = [value > 0 for value in shown if value]
        return habits | {
            "first": fmean(won) if won else None,
            "ties": (len(shown) - len(won)) / len(shown) if shown else None,
        }
    above = [vote.value - fmean(others) for vote, others in own if others]
    return habits | {
        "mean": fmean(shown) if shown else None,
        "spread": pstdev(shown) if shown else None,
        "above_others": fmean(above) if above else None,
    }
