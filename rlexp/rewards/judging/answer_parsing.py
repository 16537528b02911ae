"""What a judge is shown, and what is read out of its answer.

Nothing is guessed: an answer in which no score or verdict stands where one was asked for is
unreadable, and so is one that was cut off just behind it (`1` may have become `10`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rlexp.rewards.judging.answer_cache import Answer
from rlexp.spec.text import Text, content_of

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_MARKS = r"[\s*_`\"'\[\](){}.:]*"
_SCORE_ALONE = re.compile(rf"{_MARKS}?({_NUMBER})(?:\s*/\s*\d+)?{_MARKS}")
_SCORE_NAMED = re.compile(
    rf"\bscore\b(?:\s*\([^)]*\))?(?:\s+(?:is|of))?\W*?({_NUMBER})(?![\d.]*\d)", re.IGNORECASE
)
_VERDICT_ALONE = re.compile(rf"{_MARKS}(A|B|tie){_MARKS}", re.IGNORECASE)
_VERDICT_NAMED = re.compile(
    r"(?i:\b(?:verdict|better|winner|preferred|answer)\b(?:\s+(?:is|response|answer|text))*)"
    r"[\s*_`\"'\[\](){}:]*(A|B|(?i:tie))\b"
)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
VERDICTS = {"a": 1.0, "b": 0.0, "tie": 0.5}
"""How much each says for what was shown first."""


def placeholders(template: str) -> set[str]:
    """Return the names in a template's `{…}`; other braces, as of JSON, are text.

    >>> sorted(placeholders('Rate {completion} by {answer} as {"score": 5}'))
    ['answer', 'completion']
    """
    return set(_PLACEHOLDER.findall(template))


def fill_placeholders(template: str, values: Mapping[str, str]) -> str:
    """Return the template with each `{name}` replaced; names that values hold stay.

    >>> fill_placeholders("{completion} ({prompt})", {"prompt": "Hi", "completion": "{prompt}!"})
    '{prompt}! (Hi)'
    """
    return _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], template)


def conversation_text(text: Text) -> str:
    """Return a text, or a conversation, as the judge reads it.

    >>> hi, yes = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}
    >>> conversation_text([hi, yes])
    'user: Hi\\nassistant: Yes?'
    """
    if isinstance(text, str):
        return text
    if len(text) == 1:
        return content_of(text[0])
    return "\n".join(f"{message['role']}: {content_of(message)}" for message in text)


def parse_score(answer: Answer, low: float, high: float) -> float | None:
    """Return the score that an answer gives: it is the whole answer, or follows the word "score".

    Of several the last one counts. None for an answer without, or with one beyond `low` and `high`.

    >>> text = "Clear, though a score (1-10) of 9 would flatter it. Score: 7/10"
    >>> parse_score(Answer(text, False, 0, 0), 1, 10)
    7.0
    >>> parse_score(Answer("I like 7 of them", False, 0, 0), 1, 10)
    """
    match = _last_match(_SCORE_ALONE, _SCORE_NAMED, answer)
    score = float(match[1]) if match else None
    return score if score is not None and low <= score <= high else None


def parse_verdict(answer: Answer) -> float | None:
    """Return 1 for A, 0 for B, 0.5 for a tie: the whole answer, or behind "verdict", "better" ….

    >>> parse_verdict(Answer("B is longer, but the better response is **A**.", False, 0, 0))
    1.0
    >>> parse_verdict(Answer("A good question", False, 0, 0))
    """
    match = _last_match(_VERDICT_ALONE, _VERDICT_NAMED, answer)
    return VERDICTS[match[1].lower()] if match else None


def _last_match(
    alone: re.Pattern[str], named: re.Pattern[str], answer: Answer
) -> re.Match[str] | None:
    text = _THOUGHT.sub("", answer.text).strip()
    whole = alone.fullmatch(text)
    matches = [whole] if whole else list(named.finditer(text))
    if not matches or (answer.cut and matches[-1].end(1) == len(text)):
        return None
    return matches[-1]
