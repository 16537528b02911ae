"""Words and signs by which English tells formality and politeness, counted.

Formality: what Pavlick & Tetreault 2016 ("An Empirical Analysis of Formality in Online
Communication", TACL 4) found people to judge by: contractions, colloquial words, exclamation, case,
long words; and the pronouns of the speech situation that Heylighen & Dewaele 2002 ("Variation in
the Contextuality of Language") count against it.

Politeness: the strategies of Danescu-Niculescu-Mizil et al. 2013 (arXiv:1306.6078), each with the
mean politeness that people gave to requests that use it (their table 3, in standard deviations).
"""

from __future__ import annotations

import math
import re
from functools import cache

from rlexp.rewards.base import words_of
from rlexp.rewards.keyword import folded, phrase_pattern

_FORMAL = """accordingly acknowledge additional advise appropriate assist assistance commence
concerning consequently considerable convey demonstrate enquire ensure facilitate forthcoming
furthermore hence hereby hesitate inadequate indicate inform inquire insufficient kindly mr mrs
moreover nevertheless notify numerous obtain permit prior provide pursuant purchase regarding regret
request require reside respectfully response shall sincerely submit subsequent sufficient terminate
therefore thereof thus unfortunately upon utilize whereas whom whilst esteemed cordially"""
_COLLOQUIAL = """ain't awesome bro btw buddy bunch cause cool coz crap crazy cuz damn dude dunno
folks freaking fun gonna gotta grab guy guys haha hang heck hella hey hi hiya huge idk imma jerk
junk kid kids kinda lemme lmao lol loads lots mad mate meh messed mom nah nope nuts ok okay omg oops
outta pal pls plz pretty psyched rip-off screw sec shit sorta stuff suck sucks super sure tho thx
til totally tons tryna u ugh umm ur wanna wassup what's-up whatever wow wtf y'all ya yay yeah yep
yikes yo yup"""
_CONTRACTED = re.compile(r"\w'(?:s|t|re|ve|ll|d|m)\b|\b(?:dont|cant|wont|didnt|im|ive)\b", re.I)
_PRONOUN = re.compile(r"\b(?:i|me|my|mine|we|us|our|you|your|yours)\b", re.IGNORECASE)
_SHOUTED = re.compile(
    r"(\w)\1{2,}|\b[A-Z]{4,}\b|[!?]{2,}|\.{3,}|[:;]-?[()DPp]|<3|[\U0001f300-\U0001faff]"
)
_LOWER_START = re.compile(r"(?:^|[.!?]\s+)[a-z]|\bi\b")
_LONG_LETTERS = 7
_NEUTRAL_POINTS = 0.1
"""Points a word of text that is neither formal nor not."""

_SENTENCE = r"(?:^|[.!?\n]\s*)[\"'(]*"
_STRATEGIES: dict[str, tuple[float, str]] = {
    "gratitude": (0.87, r"\bthank(?:s|ful| you)?\b|\bappreciate\b|\bgrateful\b"),
    "deference": (
        0.78,
        rf"{_SENTENCE}(?:great|good|nice|interesting|excellent|awesome|wonderful|brilliant)\b",
    ),
    "greeting": (0.43, rf"{_SENTENCE}(?:hi|hello|hey|dear|good (?:morning|afternoon|evening))\b"),
    "apology": (0.36, r"\b(?:sorry|apologi[sz]e|apolog(?:y|ies)|excuse me|forgive me|pardon)\b"),
    "please": (0.49, r"(?<![.!?\n])[,\w] +please\b"),
    "please at the start": (-0.30, rf"{_SENTENCE}please\b"),
    "by the way": (0.63, r"\bby the way\b|\bbtw\b"),
    "direct question": (-0.27, rf"{_SENTENCE}(?:what|why|who|how)\b"),
    "direct start": (-0.43, rf"{_SENTENCE}(?:so|then|and|but|or)\b"),
    "counterfactual modal": (0.47, r"\b(?:could|would|might) (?:you|i|we)\b"),
    "indicative modal": (0.09, r"\b(?:can|will) (?:you|i|we)\b"),
    "first person at the start": (0.12, rf"{_SENTENCE}(?:i|my|mine|myself)\b"),
    "first person plural": (0.08, r"\b(?:we|our|us|ourselves)\b"),
    "first person": (0.08, r"(?<![.!?\n])[,\w] +(?:i|my|mine|myself|me)\b"),
    "second person": (0.05, r"(?<![.!?\n])[,\w] +(?:you|your|yours|yourself)\b"),
    "second person at the start": (-0.30, rf"{_SENTENCE}(?:you|your|yours|yourself)\b"),
    "hedge": (
        0.14,
        r"\b(?:perhaps|maybe|possibly|probably|apparently|might|seems?|appears?|suggest|suppose"
        r"|think|believe|guess|assume|wonder|wondering|somewhat|rather|likely)\b",
    ),
    "factuality": (
        -0.38,
        r"\b(?:really|actually|honestly|surely|obviously|in fact|the (?:point|reality|truth) is)\b",
    ),
}
_POSITIVE, _NEGATIVE = 0.12, -0.13


def formality(text: str) -> float:
    """Return formality from -1 (chat) to 1 (contract); 0 for a text without words.

    Points a word, +1 for one of seven letters or more, +2 for a formal word; -2 for a contraction,
    -3 for a colloquial word, a smiley, shouting or letters in a row, -1 for a sentence or an I in
    lower case or an exclamation mark, -0.5 for I, we, you; then tanh(2 x (points - 0.1)).

    >>> formality("We regret to inform you of a considerable delay.") > 0.5
    True
    >>> formality("sorry gonna be late lol") < -0.5
    True
    """
    normal = folded(text)
    words = words_of(normal)
    if not words:
        return 0.0
    formal, colloquial = _lexica()
    points = (
        sum(len(word) >= _LONG_LETTERS for word in words)
        + 2 * len(formal.findall(normal))
        - 2 * len(_CONTRACTED.findall(normal))
        - 3 * len(colloquial.findall(normal))
        - 3 * len(_SHOUTED.findall(normal))
        - len(_LOWER_START.findall(normal))
        - normal.count("!")
        - 0.5 * len(_PRONOUN.findall(normal))
    )
    return math.tanh(2 * (points / len(words) - _NEUTRAL_POINTS))


def politeness(text: str) -> float:
    """Return politeness from -1 to 1: tanh of the values of its strategies; 0 for none.

    >>> politeness("Could you please look at this? Thank you!") > 0.8
    True
    >>> politeness("Why did you break this, stupid?") < -0.2
    True
    """
    normal = folded(text).strip()
    used = [value for value, pattern in _strategies() if pattern.search(normal)]
    valences = [_valence(word.lower()) for word in words_of(normal)]
    used += [_POSITIVE] if any(valence > 0 for valence in valences) else []
    used += [_NEGATIVE] if any(valence < 0 for valence in valences) else []
    return math.tanh(math.fsum(used))


@cache
def _lexica() -> tuple[re.Pattern[str], re.Pattern[str]]:
    return phrase_pattern(_FORMAL.split()), phrase_pattern(_COLLOQUIAL.split())


@cache
def _strategies() -> list[tuple[float, re.Pattern[str]]]:
    return [(value, re.compile(pattern, re.I)) for value, pattern in _STRATEGIES.values()]


def _valence(word: str) -> float:
    """VADER's, for the paper's lexicon of positive and negative words."""
    from rlexp.rewards.sentiment import analyzer

    return analyzer().lexicon.get(word, 0.0)
