"""Answers that are cut at the length limit: how many, and which limit would let them end.

A policy that is cut learns from beginnings: whatever the reward looks for at the end of an answer
is not there, and all answers earn the same. So it is looked for before the training, in the answers
that the first evaluation draws anyway, and in the training's own from the first step on.

How long cut answers would have become is estimated from those that ended in the second half of the
limit: if a token there is an answer's last one with probability h, the share that is still being
written falls as exp(-h t) behind the limit (the survival function of a constant hazard, its maximum
likelihood estimate being ends over tokens at risk).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from rlexp.evaluation.results import Sample
from rlexp.guards.training_health import FEW, Finding, Series
from rlexp.spec.guards import GuardsSpec

CUT_SHARE = "rollout/cut_share"
"""Metric: share of a step's answers that were cut at the length limit."""
LEFT = 0.05
"""Share of answers that a proposed limit still cuts."""
STEP = 16
"""Tokens of which a proposed limit is a multiple."""
AT_ONCE = 0.5
"""Share of cut answers that one step is enough for; less has to last for a few."""

CAUSE = "a limit below what the policy writes: it learns from beginnings, whose ends earn nothing"
REMEDY = (
    "punish length before the limit does (reward=mix with a term of reward=overlong), or leave cut "
    "answers out (algo.mask_truncated_completions=true, where the algorithm has it)"
)


def cut_at_start(samples: Sequence[Sample], limit: int, spec: GuardsSpec) -> Finding | None:
    """Judge answers of the policy before training by the limit of the training's own."""
    share = cut_share(samples, limit)
    if share <= spec.cut_share:
        return None
    proposed, cut = limit_for(samples), f"{share:.0%} of {len(samples)} answers before training"
    if proposed is None:
        remedy = f"Set data.max_completion_length={2 * limit} or more (none of those near the "
        remedy += "limit ended, so that nothing tells how long they are)"
    else:
        remedy = f"Set data.max_completion_length={proposed}, by which about {1 - LEFT:.0%} would "
        remedy += "end"
    what = f"{cut} do not end within algo.max_completion_length={limit} tokens"
    return Finding(what, CAUSE, f"{remedy}; or {REMEDY}")


def check_cut_share(series: Series, spec: GuardsSpec) -> Finding | None:
    """Compare the share of the training's own answers that are cut with `guards.cut_share`."""
    shares = series.values(CUT_SHARE)[-FEW:]
    if not shares or (len(shares) < FEW and min(shares) < AT_ONCE):
        return None
    if fmean(shares) <= spec.cut_share:
        return None
    what = f"{fmean(shares):.0%} of the training's own answers are cut at the length limit"
    remedy = f"Raise data.max_completion_length (and algo.max_completion_length with it), {REMEDY}"
    return Finding(what, CAUSE, remedy)


def cut_share(samples: Sequence[Sample], limit: int) -> float:
    """Return the share of answers that `limit` tokens, the end token included, would cut.

    The samples may have been cut at another limit; behind it the share is estimated.
    """
    if not samples:
        return 0.0
    seen = max(sample.length for sample in samples)
    whole = sum(sample.ended and sample.length <= limit for sample in samples)
    share = 1 - whole / len(samples)
    rate = _end_rate(samples)
    return share * math.exp(-rate * max(0, limit - seen)) if share else 0.0


def limit_for(samples: Sequence[Sample], left: float = LEFT) -> int | None:
    """Return the length that would cut a share `left` of answers, rounded up; None where no sampled
    answer ended near the limit, so that nothing tells.
    """
    ended = sorted(sample.length for sample in samples if sample.ended)
    wanted = math.ceil((1 - left) * len(samples))
    if len(ended) >= wanted:
        return _rounded(ended[wanted - 1])
    rate = _end_rate(samples)
    if rate == 0:
        return None
    share = 1 - len(ended) / len(samples)
    seen = max(sample.length for sample in samples)
    return _rounded(seen + math.log(share / left) / rate)


def _end_rate(samples: Sequence[Sample]) -> float:
    """Return how likely a token in the second half of what was sampled is an answer's last one."""
    half = max(sample.length for sample in samples) // 2
    at_risk = sum(max(0, sample.length - half) for sample in samples)
    ends = sum(sample.ended and sample.length > half for sample in samples)
    return ends / at_risk if at_risk else 0.0


def _rounded(length: float) -> int:
    return math.ceil(length / STEP) * STEP
