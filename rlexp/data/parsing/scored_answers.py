"""Several answers to a prompt with a score each, of which the best and the worst become a pair.

This is how UltraFeedback (Cui et al. 2023, arXiv:2310.01377) is published.
"""

from __future__ import annotations

import math

from rlexp.data.parsing.mistakes import RecordError, SkipRecord

_WORDS = ("response", "completion", "content", "text", "answer")
_SCORES = ("overall_score", "score", "rating", "reward")


def best_and_worst(answers: object, name: str) -> tuple[str, str]:
    """Return the answers of the highest and the lowest score, the first ones of several.

    Args:
        answers: a list of objects, each with a text and a score.
        name: of the column, for what is said of a mistake.

    Raises:
        RecordError: naming the answer, counted from 1.
        SkipRecord: there are not two scores.
    """
    if not isinstance(answers, list):
        raise RecordError(f"a {type(answers).__name__} as {name!r}", "a list of scored answers")
    scored = [_scored(answer, f"answer {n} of {name!r}") for n, answer in enumerate(answers, 1)]
    scores = [score for _, score in scored]
    if len(set(scores)) < 2:
        raise SkipRecord("its answers do not differ in their scores")
    high, low = scores.index(max(scores)), scores.index(min(scores))
    return scored[high][0], scored[low][0]


def _scored(answer: object, place: str) -> tuple[str, float]:
    values = answer if isinstance(answer, dict) else {}
    words = next((values[key] for key in _WORDS if isinstance(values.get(key), str)), None)
    score = next((values[key] for key in _SCORES if values.get(key) is not None), None)
    try:
        number = float(score) if score is not None else None
    except (TypeError, ValueError):
        number = None
    if not words or number is None or not math.isfinite(number):
        has = ", ".join(values) or f"a {type(answer).__name__}"
        want = f"a text ({', '.join(_WORDS)}) and a number ({', '.join(_SCORES)})"
        raise RecordError(f"{place}: {has}", want)
    return words, number
