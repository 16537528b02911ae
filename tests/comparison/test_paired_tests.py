"""The statistics of a comparison against closed forms, brute force and simulation."""

from __future__ import annotations

import itertools
import math
import random
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
from scipy.stats import permutation_test

from rlexp.comparison import paired_tests
from rlexp.comparison.paired_tests import against_first, holm, paired_test, sign_flip_p

SIMULATIONS = 400


def a_run(seed: object, prompts: int, shift: float = 0.0, ease: float = 0.0) -> dict[str, float]:
    """Means of a run: what makes a prompt easy is shared by all runs of the same prompts."""
    noise = random.Random(f"noise {seed}")
    return {
        f"prompt {index}": shift
        + ease * random.Random(index).gauss(0, 1)
        + noise.gauss(0, 0.3)
        - 0.2 * noise.expovariate(1)  # rewards are skewed
        for index in range(prompts)
    }


def test_p_of_few_prompts_is_exact() -> None:
    """A test that is off by one, one-sided, or that forgets the data's own order of signs."""
    deltas = [0.3, -0.1, 0.25, 0.4, 0.05, -0.02, 0.31]
    as_far = sum(
        abs(sum(sign * delta for sign, delta in zip(signs, deltas, strict=True)))
        >= abs(sum(deltas)) - 1e-12
        for signs in itertools.product((1, -1), repeat=len(deltas))
    )
    assert sign_flip_p(deltas) == pytest.approx(as_far / 2 ** len(deltas))
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    assert sign_flip_p([0.0] * 20) == 1.0


def test_p_of_many_prompts_is_that_of_scipy() -> None:
    """Signs that are drawn unevenly, the same ones in every batch, or for the whole row at once."""
    first, other = a_run("a", 60), a_run("b", 60, shift=0.1)
    deltas = [other[prompt] - first[prompt] for prompt in first]
    told = permutation_test(
        (np.asarray(deltas),),
        np.mean,
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    assert 0.01 < told.pvalue < 0.9
    assert sign_flip_p(deltas) == pytest.approx(told.pvalue, abs=0.015)


def test_equal_runs_differ_in_one_of_twenty_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that cries wolf: completions taken for prompts, or a shift that is not removed.

    400 comparisons of equal runs make 20 false alarms, give or take 4.4: 5 to 35 is 3.4 times that.
    """
    monkeypatch.setattr(paired_tests, "FLIPS", 1000)
    alarms = 0
    for seed in range(SIMULATIONS):
        first, other = (a_run((seed, which), 40, ease=1.0) for which in "ab")
        deltas = [other[prompt] - first[prompt] for prompt in first]
        alarms += sign_flip_p(deltas, seed) < 0.05
    assert 5 <= alarms <= 35


def test_the_interval_covers_the_true_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval of a standard deviation instead of a mean, or of the wrong side.

    Of 400 intervals 95 % cover, give or take 1.1 %; the percentile bootstrap of 60 prompts is known
    to fall short by about a point.
    """
    monkeypatch.setattr(paired_tests, "RESAMPLES", 499)
    monkeypatch.setattr(paired_tests, "sign_flip_p", lambda deltas, seed: 1.0)
    covered = 0
    for seed in range(SIMULATIONS):
        result = paired_test(a_run((seed, "a"), 60), a_run((seed, "b"), 60, shift=0.1), seed)
        assert result
        covered += result.low <= 0.1 <= result.high
    assert 0.90 <= covered / SIMULATIONS <= 0.98


def test_many_prompts_meet_the_normal_limit() -> None:
    """Interval and p-value of other than the mean's distribution."""
    deltas = [random.Random(index).gauss(0.05, 1.0) for index in range(2000)]
    result = paired_test(dict.fromkeys(range(2000), 0.0), dict(enumerate(deltas)))
    assert result
    error = stdev(deltas) / math.sqrt(len(deltas))
    assert result.high - result.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    expected = 2 * (1 - NormalDist().cdf(abs(mean(deltas)) / error))
    assert result.p == pytest.approx(expected, abs=0.015)


def test_turning_the_runs_round_turns_the_sign() -> None:
    """First minus other, or a win rate of the loser."""
    low, high = a_run("a", 50), a_run("b", 50, shift=0.4)
    up, down = paired_test(low, high), paired_test(high, low)
    assert up
    assert down
    assert up.difference == pytest.approx(-down.difference)
    assert up.difference > 0.2
    assert up.low > 0 > down.high
    assert up.significant
    assert up.p == down.p
    assert up.higher == pytest.approx(1 - down.higher)
    assert up.higher > 0.5
    assert up.higher_low < up.higher < up.higher_high


def test_pairing_takes_the_prompts_own_ease_away() -> None:
    """Runs compared as if their prompts were others: a difference of 0.1 then drowns."""
    first = a_run("a", 60, ease=5.0)
    other = {prompt: value + 0.1 for prompt, value in first.items()}
    result = paired_test(first, other)
    assert result
    assert result.difference == pytest.approx(0.1)
    assert result.high - result.low < 1e-6
    assert result.significant


def test_only_shared_finite_prompts_count() -> None:
    """Prompts of one run taken for zero in the other; a NaN that swallows everything."""
    first = {"a": 1.0, "b": 2.0, "c": math.nan, "d": 4.0}
    other = {"b": 2.5, "c": 3.0, "d": 5.0, "e": 9.0}
    result = paired_test(first, other)
    assert result
    assert (result.prompts, result.difference, result.higher) == (2, 0.75, 1.0)
    assert paired_test(first, {"b": 2.0}) is None
    assert paired_test(first, {"b": 2.0, "d": math.inf, "c": 1.0}) is None


def test_a_tie_counts_half() -> None:
    """Equal rewards as wins or as losses."""
    result = paired_test({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0})
    assert result
    assert result.higher == 0.75


def test_holm_is_what_its_paper_says() -> None:
    """Bonferroni, an order lost, or a small p-value corrected to more than a larger one."""
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_p_is_corrected_for_the_number_of_runs() -> None:
    """Twenty runs against one, of which one is better by chance."""
    first, other = a_run("a", 30), a_run("b", 30, shift=0.12)
    (_, alone) = against_first([first, other])
    (_, among, nothing) = against_first([first, other, {}])
    equal = [a_run((index, "c"), 30) for index in range(9)]
    (_, crowded, *_) = against_first([first, other, *equal])
    assert alone
    assert among
    assert crowded
    assert nothing is None
    assert among.p == alone.p
    assert crowded.p >= 5 * alone.p


def test_the_same_runs_give_the_same_numbers() -> None:
    """P-values that flicker around 0.05 from one look to the next."""
    first, other = a_run("a", 100), a_run("b", 100, shift=0.05)
    assert paired_test(first, other) == paired_test(first, other)
