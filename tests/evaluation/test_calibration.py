"""Calibration of a reward model and agreement of two rewards, against slow loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from rlexp.evaluation.ranking.agreement import agreeing_pairs, agreement, agreement_change
from rlexp.evaluation.ranking.calibration import (
    brier_score,
    calibration,
    log_loss,
    pair_measures,
    score_margins,
)
from rlexp.evaluation.results import Sample

PAIRS = 2000


def margins_of(sureness: float, seed: int = 0) -> list[float]:
    """Differences of scores that happen as a Bradley-Terry model says, times the sureness."""
    random = np.random.default_rng(seed)
    sizes = random.exponential(1.5, PAIRS)
    signs = np.where(random.random(PAIRS) < 1 / (1 + np.exp(-sizes)), 1.0, -1.0)
    return (sureness * sizes * signs).tolist()


def test_a_calibrated_model_is_found_calibrated() -> None:
    """An error of binning that is taken for one of the model; confidence of the chosen answer
    instead of the preferred one, which is never below what happened."""
    known = calibration(margins_of(1.0), 200, 0)
    assert known.error < 1.5 * known.error_by_chance
    assert known.overconfidence_low is not None and known.overconfidence_high is not None
    assert known.overconfidence_low < 0 < known.overconfidence_high
    inside = [one.low <= one.confidence <= one.high for one in known.bins]
    assert sum(inside) >= 8 and len(inside) == 10
    assert [one.confidence for one in known.bins] == sorted(one.confidence for one in known.bins)
    assert sum(one.pairs for one in known.bins) == known.pairs == PAIRS


@pytest.mark.parametrize(("sureness", "sign"), [(3.0, 1), (0.3, -1)], ids=["too", "too little"])
def test_a_model_that_is_too_sure_or_too_little(sureness: float, sign: int) -> None:
    """A sign that is turned round; an error that looks like chance."""
    known = calibration(margins_of(sureness), 200, 0)
    assert known.overconfidence * sign > 0.03
    assert known.low is not None and known.low > 2 * known.error_by_chance
    ends = known.overconfidence_low, known.overconfidence_high
    assert all(end is not None and end * sign > 0 for end in ends)


def test_the_error_is_that_of_a_slow_loop() -> None:
    """Gaps that cancel between bins, or a bin weighted by itself."""
    margins = [0.1 * index * (-1) ** (index % 3 == 0) for index in range(1, 41)]
    known = calibration(margins, 50, 0)
    rows = sorted(margins, key=abs)
    parts = [rows[start : start + 10] for start in range(0, 40, 10)]
    gaps = [
        abs(sum(1 / (1 + math.exp(-abs(m))) - (m > 0) for m in part)) / len(rows) for part in parts
    ]
    assert known.error == pytest.approx(sum(gaps)) and len(known.bins) == 4


def test_one_that_knows_nothing() -> None:
    """Equal confidences parted at random, which makes an error of noise; a tie counted as right."""
    known = calibration([0.0] * 50, 50, 0)
    assert (known.error, known.overconfidence, len(known.bins)) == (0.0, 0.0, 1)
    assert pair_measures([0.0, -2.0]) == {
        "accuracy": [0.5, 0.0],
        "margin": [0.0, -2.0],
        "log_loss": [pytest.approx(math.log(2)), pytest.approx(math.log1p(math.exp(2)))],
        "brier": [0.25, pytest.approx((1 - 1 / (1 + math.exp(2))) ** 2)],
    }
    with pytest.raises(ValueError, match="got none"):
        calibration([], 50, 0)


@pytest.mark.parametrize("margin", [-900.0, 900.0])
def test_scores_far_apart_do_not_overflow(margin: float) -> None:
    assert (log_loss(margin), brier_score(margin)) == ((900.0, 1.0) if margin < 0 else (0.0, 0.0))


def test_margins_are_of_answers_to_one_pair() -> None:
    """Answers that are taken in the order in which they stand, whichever comes first."""
    scores = (("chosen", 3.0), ("rejected", 1.0), ("rejected", 5.0), ("chosen", 4.0))
    samples = [
        Sample("p", "c", score, {}, 1, True, None, {}, place // 2, answer)  # pyright: ignore[reportArgumentType]
        for place, (answer, score) in enumerate(scores)
    ]
    assert score_margins(samples) == [2.0, -1.0]
    with pytest.raises(ValueError, match="of pairs"):
        score_margins([Sample("p", "c", 1.0, {}, 1, True, None)])


def rewards(noise: float, prompts: int = 120, seed: int = 0) -> tuple[list, list]:
    """A gold reward of four completions a prompt, and one that follows it with noise."""
    random = np.random.default_rng(seed)
    gold = random.normal(size=(prompts, 4)) + random.normal(0, 3, (prompts, 1))
    return (gold + random.normal(0, noise, gold.shape)).tolist(), gold.tolist()


def test_agreement_is_kendalls_and_spearmans() -> None:
    """Pairs across prompts, which tell easy prompts from hard ones and not good answers from bad;
    pairs that are counted twice."""
    reward, gold = rewards(1.0)
    found = agreement(reward, gold, 200, 0)
    assert found is not None and found.pairs == 120 * 6
    taus = [np.asarray(kendalltau(one, other))[0] for one, other in zip(reward, gold, strict=True)]
    assert found.kendall == pytest.approx(np.mean(taus))
    flat = [[value for group in side for value in group] for side in (reward, gold)]
    assert found.spearman == pytest.approx(np.asarray(spearmanr(flat[0], flat[1]))[0])
    assert found.low is not None and found.low < found.rate < (found.high or 0)
    assert found.spearman_low is not None and found.spearman_high is not None
    assert found.spearman_low < (found.spearman or 0) < found.spearman_high


def test_agreement_at_its_ends() -> None:
    """A tie of gold that is counted as a pair; None taken for 0."""
    gold = [[1.0, 2.0, 2.0], [None, 3.0, 4.0]]
    assert agreeing_pairs(gold, gold) == ([2.0, 1.0], [2.0, 1.0])
    turned = [[None if v is None else -v for v in group] for group in gold]
    found = agreement(turned, gold, 50, 0)
    assert found is not None and (found.rate, found.pairs) == (0.0, 3)
    assert agreement(gold, [[1.0, 1.0, 1.0], [None, None, 2.0]], 50, 0) is None
    flat = agreement([[0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0]], 50, 0)
    assert flat is not None and (flat.rate, flat.spearman) == (0.5, None)


def test_a_reward_that_no_longer_orders_as_gold_does() -> None:
    """A change that is not paired, or of the wrong sign."""
    before, after = rewards(0.5), rewards(4.0)
    fallen = agreement_change(before, after, 200, 0)
    assert fallen is not None and fallen.direction == "fell"
    same = agreement_change(before, before, 200, 0)
    assert same is not None and (same.difference, same.direction) == (0.0, "unclear")
