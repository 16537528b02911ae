"""Is a reward model as sure of its order of two answers as it may be?

A model of Bradley and Terry's says by its scores how sure it is: P(chosen above rejected) is the
sigmoid of their difference. Its confidence in the answer that it prefers is the sigmoid of the
absolute difference; it is calibrated if, of the pairs of which it is sure by 80 %, it has 80 % in
the right order. The error is that of Naeini et al. 2015 (expected calibration error) over bins of
equally many pairs, as of Nixon et al. 2019 (arXiv:1904.01685); it is above 0 by chance alone, and
by how much is told beside it. Brier score and log loss are proper: what is least is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlexp.evaluation.bootstrap import bootstrap_ratio, bootstrap_sums
from rlexp.evaluation.results import ANSWERS, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
PAIRS_A_BIN = 10
"""Pairs below which there are fewer bins."""
_DRAWS = 500
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs of which a model is about equally sure."""

    pairs: int
    confidence: float
    """Mean, from 1/2 to 1."""
    accuracy: float
    """Share in the right order; ties count half."""
    low: float
    """Ends of its 95 % interval (Wilson 1927)."""
    high: float


@dataclass(frozen=True)
class Calibration:
    """Confidence of a reward model against what happened, over held-out pairs."""

    pairs: int
    error: float
    """Mean over pairs of their bin's |confidence - accuracy|."""
    low: float | None
    """Ends of its 95 % interval; None for a single pair."""
    high: float | None
    error_by_chance: float
    """What a calibrated model, as sure of each pair, has on average with so many pairs."""
    overconfidence: float
    """Mean confidence minus accuracy: below 0 it is less sure than it may be."""
    overconfidence_low: float | None
    """Ends of its 95 % interval."""
    overconfidence_high: float | None
    bins: list[ReliabilityBin]
    """By rising confidence."""

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """Read what JSON made of one."""
        return cls(**{**content, "bins": [ReliabilityBin(**one) for one in content["bins"]]})


def pair_measures(margins: Sequence[float]) -> dict[str, list[float]]:
    """Return what is averaged over pairs, by metric, of scores that differ by these margins."""
    return {
        "accuracy": [*map(in_right_order, margins)],
        "margin": list(margins),
        "log_loss": [*map(log_loss, margins)],
        "brier": [*map(brier_score, margins)],
    }


def score_margins(samples: Sequence[Sample]) -> list[float]:
    """Return the chosen answer's score minus the rejected one's, of samples of pairs in order.

    Raises:
        ValueError: they are not of pairs.
    """
    scores: dict[str, list[float]] = {answer: [] for answer in ANSWERS}
    for sample in samples:
        if sample.answer not in scores or sample.reward is None:
            raise ValueError(f"scored answers of pairs are needed, got {sample.answer!r}")
        scores[sample.answer].append(sample.reward)
    return [good - bad for good, bad in zip(*scores.values(), strict=True)]


def in_right_order(margin: float) -> float:
    """Return 1 where the chosen answer scores higher, 0 where lower, 1/2 where both score alike."""
    return 0.5 if margin == 0 else float(margin > 0)


def brier_score(margin: float) -> float:
    """Return the squared distance of P(chosen above rejected) from 1 (Brier 1950).

    >>> brier_score(0.0)
    0.25
    """
    return (1 - _sigmoid(margin)) ** 2


def log_loss(margin: float) -> float:
    """Return -log P(chosen above rejected), the loss that Bradley-Terry models minimise, in nats.

    >>> log_loss(0.0) == math.log(2), log_loss(-800.0)
    (True, 800.0)
    """
    return max(-margin, 0.0) + math.log1p(math.exp(-abs(margin)))


def calibration(margins: Sequence[float], resamples: int, seed: int) -> Calibration:
    """Return the calibration of scores whose differences, chosen minus rejected, are these.

    Raises:
        ValueError: there are none.
    """
    import numpy as np

    if not margins:
        raise ValueError("calibration needs pairs, got none")
    confidence = np.array([_sigmoid(abs(margin)) for margin in margins])
    right = np.array([in_right_order(margin) for margin in margins])
    of_bin = _bins(confidence)
    gaps = of_bin * (confidence - right)
    ones = [1.0] * len(margins)

    def error(*sums: NDArray) -> NDArray:
        return np.abs(np.stack(sums[:-1])).sum(0) / sums[-1]

    ends = bootstrap_sums([*gaps.tolist(), ones], error, resamples, seed)
    excess = (confidence - right).tolist()
    excess_ends = bootstrap_ratio(excess, ones, resamples, seed)
    return Calibration(
        len(margins),
        float(np.abs(gaps.sum(1)).sum() / len(margins)),
        *(ends or (None, None)),
        _error_by_chance(confidence, of_bin, seed),
        sum(excess) / len(excess),
        *(excess_ends or (None, None)),
        bins=[_reliability(confidence[inside], right[inside]) for inside in of_bin],
    )


def _bins(confidence: NDArray) -> NDArray:
    """Return which pairs are in which bin, (bins, pairs) truth values; equal confidences in one."""
    import numpy as np

    count = max(1, min(BINS, len(confidence) // PAIRS_A_BIN))
    borders = np.quantile(confidence, np.arange(1, count) / count, method="inverted_cdf")
    places = np.searchsorted(np.unique(borders), confidence, side="left")
    return np.stack([places == place for place in np.unique(places)])


def _error_by_chance(confidence: NDArray, of_bin: NDArray, seed: int) -> float:
    import numpy as np

    random = np.random.default_rng(seed)
    happened = random.random((_DRAWS, len(confidence))) < confidence
    gaps = np.abs((confidence - happened) @ of_bin.T.astype(float))
    return float(gaps.sum(1).mean() / len(confidence))


def _reliability(confidence: NDArray, right: NDArray) -> ReliabilityBin:
    count, share = len(right), float(right.mean())
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    width = _Z / (1 + _Z**2 / count)
    width *= math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    ends = max(0.0, centre - width), min(1.0, centre + width)
    return ReliabilityBin(count, float(confidence.mean()), share, *ends)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
