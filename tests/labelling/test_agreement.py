"""Measures of agreement against published figures, closed forms and another implementation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rlexp.labelling.agreement import (
    Agreement,
    Level,
    Statistic,
    cohen_kappa,
    count_table,
    fleiss_kappa,
    krippendorff_alpha,
    measured,
    observed_agreement,
)

BINARY = ["0100000010", "1110010000"]
NOMINAL = ["aabbdcccedda", "babbbccceddd"]
FOUR = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
"""Krippendorff (2011), examples A, B and C: a line an observer, a dot where one said nothing."""

FLEISS = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""
"""Fleiss (1971), table 1: 30 patients by 6 psychiatrists, diagnoses of depression, personality
disorder, schizophrenia, neurosis, other."""
TEN = """
0,0,0,0,14 0,2,6,4,2 0,0,3,5,6 0,3,9,2,0 2,2,8,1,1 7,7,0,0,0 3,2,6,3,0 2,5,3,2,2 6,5,2,1,0
0,2,2,3,7
"""
"""10 subjects by 14 raters, whose kappa encyclopedias work out step by step."""
COHEN = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
"""Cohen (1960), table 2, as numbers of 200."""
WINNIPEG = [[38, 5, 0, 1], [33, 11, 3, 0], [10, 14, 5, 6], [3, 7, 3, 10]]
NEW_ORLEANS = [[5, 3, 0, 0], [3, 11, 4, 0], [2, 13, 3, 4], [1, 2, 4, 14]]
"""Landis and Koch (1977), table 1: two neurologists' diagnoses of multiple sclerosis."""


def value(statistic: Statistic, items: int) -> float:
    (number,) = statistic(np.ones((1, items)))
    return float(number)


def table(observers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    verdicts = [
        (unit, float(ord(letter) - ord("0")))
        for observer in observers
        for unit, letter in enumerate(observer)
        if letter != "."
    ]
    return count_table([unit for unit, _ in verdicts], [number for _, number in verdicts])


def alpha(observers: Sequence[str], level: Level) -> float:
    counts, values = table(observers)
    return value(krippendorff_alpha(counts, values, level), len(counts))


def two_sides(matrix: Sequence[Sequence[int]]) -> tuple[list[float], list[float]]:
    """The verdicts of two people from their contingency table."""
    cells = [
        (float(i), float(j))
        for i, row in enumerate(matrix)
        for j, n in enumerate(row)
        for _ in range(n)
    ]
    return [one for one, _ in cells], [other for _, other in cells]


def kappa(first: Sequence[float], second: Sequence[float], squared: bool = False) -> float:
    return value(cohen_kappa(range(len(first)), first, second, squared=squared), len(first))


@pytest.mark.parametrize(
    ("observers", "level", "published"),
    [
        (BINARY, "nominal", "0.095"),
        (NOMINAL, "nominal", "0.692"),
        (FOUR, "nominal", "0.743"),
        (FOUR, "ordinal", "0.815"),
        (FOUR, "interval", "0.849"),
    ],
)
def test_alpha_is_krippendorffs(observers: list[str], level: Level, published: str) -> None:
    """A wrong difference function, or missing verdicts that count as a value."""
    assert f"{alpha(observers, level):.3f}" == published


def test_fleiss_kappa_is_his() -> None:
    """Chance agreement from the wrong margin."""
    counts = np.array([[int(n) for n in row] for row in FLEISS.split()])
    assert list(counts.sum(axis=0)) == [26, 26, 30, 55, 43]
    assert f"{value(fleiss_kappa(counts), 30):.3f}" == "0.430"
    ten = np.array([[int(n) for n in row.split(",")] for row in TEN.split()])
    assert f"{value(fleiss_kappa(ten), 10):.3f}" == "0.210"
    assert f"{value(observed_agreement(ten), 10):.3f}" == "0.378"


def test_fleiss_kappa_with_missing_verdicts_is_gwets() -> None:
    """Items of few verdicts that weigh less, or more; a lone verdict that counts as agreement."""
    counts, _ = table(FOUR)
    assert f"{value(fleiss_kappa(counts), len(counts)):.5f}" == "0.76117"


@pytest.mark.parametrize(
    ("matrix", "published"), [(COHEN, "0.492"), (WINNIPEG, "0.208"), (NEW_ORLEANS, "0.297")]
)
def test_cohens_kappa_is_published(matrix: list[list[int]], published: str) -> None:
    """Margins of both people mixed into one, which is Scott's pi."""
    assert f"{kappa(*two_sides(matrix)):.3f}" == published


@pytest.mark.parametrize("matrix", [COHEN, WINNIPEG, NEW_ORLEANS])
def test_cohens_kappa_equals_another_implementation(matrix: list[list[int]]) -> None:
    """Squared weights that are linear, or of ranks instead of values."""
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = two_sides(matrix)
    for squared, weights in ((False, None), (True, "quadratic")):
        theirs = metrics.cohen_kappa_score(first, second, weights=weights)
        assert kappa(first, second, squared) == pytest.approx(theirs, abs=1e-12)


def test_two_people_without_gaps_tie_the_measures_together() -> None:
    """Fleiss' kappa of two is Scott's pi; alpha is that with a correction for few verdicts."""
    first, second = two_sides(WINNIPEG)
    items = [*range(len(first))] * 2
    counts, values = count_table(items, [*first, *second])
    shares = (np.bincount(np.array(first, int)) + np.bincount(np.array(second, int))) / len(items)
    chance = float(np.square(shares).sum())
    same = float(np.mean(np.array(first) == np.array(second)))
    pi = (same - chance) / (1 - chance)
    assert value(fleiss_kappa(counts), len(counts)) == pytest.approx(pi)
    corrected = 1 - (1 - pi) * (len(items) - 1) / len(items)
    nominal = value(krippendorff_alpha(counts, values, "nominal"), len(counts))
    assert nominal == pytest.approx(corrected)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_perfect_agreement_is_one_and_chance_is_nothing(level: Level) -> None:
    """A measure that is off by a factor, or lives on another scale."""
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, 4000)
    items = [*range(4000)] * 2
    for second, wanted in ((truth, 1.0), (rng.permutation(truth), 0.0)):
        counts, values = count_table(items, [*truth, *second])
        for statistic in (krippendorff_alpha(counts, values, level), fleiss_kappa(counts)):
            assert value(statistic, 4000) == pytest.approx(wanted, abs=0.05)
        for squared in (False, True):
            assert kappa([*truth], [*second], squared) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("score", [4.0, 3.7, 1e6 + 0.1])
def test_verdicts_that_do_not_vary_have_no_agreement(score: float) -> None:
    """Perfect agreement claimed where nothing could differ, or made of rounding errors."""
    counts, values = count_table([0, 0, 1, 1, 2, 2], [score] * 6)
    for level in ("nominal", "ordinal", "interval"):
        assert np.isnan(value(krippendorff_alpha(counts, values, level), 3))
    assert np.isnan(value(fleiss_kappa(counts), 3))
    assert np.isnan(kappa([score] * 3, [score] * 3, squared=True))
    undefined = measured("alpha", krippendorff_alpha(counts, values, "interval"), 3, 3, 50, 0)
    assert undefined == Agreement("alpha", None, None, 3)


def test_no_item_judged_twice_has_no_agreement() -> None:
    """A division by zero where every item has one verdict."""
    counts, values = count_table([0, 1, 2], [1.0, 2.0, 2.0])
    for statistic in (
        krippendorff_alpha(counts, values, "nominal"),
        fleiss_kappa(counts),
        observed_agreement(counts),
    ):
        assert np.isnan(value(statistic, 3))


def test_the_interval_is_that_of_resampled_items() -> None:
    """Verdicts resampled instead of items; weights that one of the sums forgets."""
    counts, values = table(FOUR)
    statistic = krippendorff_alpha(counts, values, "ordinal")
    result = measured("alpha", statistic, len(counts), 11, 2000, 0)
    rng = np.random.default_rng(1)
    by_hand = []
    for _ in range(2000):
        drawn = counts[rng.integers(0, len(counts), len(counts))]
        again = value(krippendorff_alpha(drawn, values, "ordinal"), len(drawn))
        by_hand.append(0.0 if np.isnan(again) else again)
    assert result.value == pytest.approx(0.815, abs=5e-4)
    assert result.interval == pytest.approx(np.percentile(by_hand, [2.5, 97.5]), abs=0.03)
    assert result == measured("alpha", statistic, len(counts), 11, 2000, 0)


def test_weights_stand_for_repeated_items() -> None:
    """An item drawn twice that does not count as two items."""
    counts, values = table(FOUR)
    weights = np.array([[2, 0, 1, 3, 1, 1, 0, 1, 2, 1, 0, 0]], dtype=float)
    repeated = np.repeat(counts, weights[0].astype(int), axis=0)
    levels: tuple[Level, ...] = ("nominal", "ordinal", "interval")
    for make in (
        fleiss_kappa,
        observed_agreement,
        *(lambda c, level=level: krippendorff_alpha(c, values, level) for level in levels),
    ):
        (weighted,) = make(counts)(weights)
        assert weighted == pytest.approx(value(make(repeated), len(repeated)))
