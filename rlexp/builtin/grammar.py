"""Film reviews drawn from a small probabilistic grammar: data whose exact probability is known.

A review has a class (positive, negative or mixed). Each of its sentences draws a tone from the
class - praise `+`, blame `-` or neutral `=` - and words from the rules below:

    The lighting of this western was rather nasty, I hated it. Even the plot was awful. ...

`RULES` and `CLASSES` are the whole description. Sampling, `log_prob` and `grammatical` are all
derived from it, by one `Grammar`: a context-free grammar without recursion, parsed by the inside
algorithm (Baker 1979) with one probability per tone. The language model that is pre-trained on
these texts can therefore be held against a floor, the grammar's true entropy, and the texts that
a policy writes after reinforcement learning against the language that it started from.
"""

import math
import operator
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

TONES = "+-="

CLASSES = {
    "positive": (0.4, {"+": 0.85, "=": 0.15}),
    "negative": (0.4, {"-": 0.85, "=": 0.15}),
    "mixed": (0.2, {"+": 0.34, "-": 0.33, "=": 0.33}),
}
"""Each class's probability, and the probabilities of a sentence's tones in it."""

RULES = """
review: {opening} {middle} {closing} | {opening} {middle} {middle} {closing}

opening: I watched this {genre} with {companion} {occasion} and it {verdict}.
  | the {aspect} of this {genre} {verdict}.
  | we saw this {trait} {genre} {occasion} and the {aspect} {verdict}.
  | {companion} told me that the {aspect} of this {genre} {verdict}.
  | {occasion} I saw a {genre} that {verdict}.
  | for a {trait} {genre} the {aspect} {verdict}.

middle: the {aspect} {verdict}. | I thought the {aspect} {verdict}. | even the {aspect} {verdict}.
  | {companion} said the {aspect} {verdict}. | {remark}.

closing: overall it was a {quality} {genre}. | in the end {remark}. | what a {judgement} {genre}!

verdict: 2 was {quality} | 1 was {quality} and {quality} | 1 was {quality}, {remark}

quality: 3 {judgement} | 2 {degree} {judgement}

degree: really | very | fairly | absolutely | rather | quite | simply | utterly

genre: film | movie | picture | cartoon | drama | thriller | sequel | remake | documentary
  | western | musical | adaptation

aspect: acting | plot | script | soundtrack | ending | dialogue | pacing | cast | camera work
  | lighting | score | story | editing | direction | opening scene | final act | costume design
  | main character | leading actor | narrator | second half | dance scene

companion: my sister | my brother | my mother | my neighbour | my cousin | my flatmate | my aunt
  | our teacher | some colleagues | a student

occasion: last night | last week | yesterday | on Sunday | on television | on a long flight
  | on a winter evening | at the weekend | at home | at the cinema | after work
  | in the summer

judgement+: wonderful | great | brilliant | superb | delightful | charming | excellent | beautiful
  | fantastic | amazing | impressive | perfect | fun | lovely | clever | funny | enjoyable
  | stunning | awesome | terrific | magnificent | outstanding | sweet | heartwarming

judgement-: terrible | awful | boring | horrible | dull | bad | dreadful | stupid | weak | ugly
  | annoying | disappointing | pathetic | lame | painful | miserable | ridiculous | poor
  | disgusting | lousy | worthless | dismal | sad | nasty

judgement=: {trait}

trait: long | short | slow | quiet | loud | recent | old | typical | ordinary | familiar | simple
  | modern | different | foreign | classic | average | predictable | lengthy | conventional
  | standard

remark+: I loved it | I enjoyed every minute | it made me smile | everyone laughed and cheered
  | I was thrilled | it won my heart | I admired the honest performances
  | the audience applauded with joy | we were happy all evening | I would gladly see it again

remark-: I hated it | I regretted every minute | it made me angry | everyone complained and left
  | I was bored | it ruined my evening | I disliked the fake performances
  | the audience groaned in pain | we were miserable all evening
  | I wanted to cry with frustration

remark=: it lasted two hours | we talked about it over dinner | it was filmed in the north
  | I watched it until the end | it follows three families | it begins in a small town
  | we sat near the back | it is based on a book | it was shot in black and white
  | it takes place in one night
"""
"""One symbol a paragraph, `symbol: alternative | alternative`; a symbol that ends in a tone has
these alternatives in that tone only. `{symbol}` is a slot, a leading integer the alternative's
weight (1). Words stand in lower case: `a` becomes `an` before a vowel, and a sentence's first
letter a capital, when the sentence is written."""

_SENTENCE = re.compile(r"[^.!?]+[.!?]*|[.!?]+")
_WORD = re.compile(r"[^\s.,!?]+|[.,!?]")
_PART = re.compile(r"\{\w+\}|[^\s.,!?{}]+|[.,!?]")

Weights = tuple[float, ...]  # one probability for each tone, in the order of TONES


@dataclass(frozen=True)
class Review:
    """A text and its class: "positive", "negative" or "mixed"."""

    text: str
    label: str

    @property
    def log_prob(self) -> float:
        """The log-probability in nats, over all classes and derivations; slow to read."""
        return log_prob(self.text)


@dataclass(frozen=True)
class Production:
    """One alternative of a symbol: its probability in each tone, and its words and `{slots}`."""

    weights: Weights
    parts: tuple[str, ...]


class Grammar:
    """A probabilistic grammar of reviews, in the notation of `RULES` and `CLASSES`.

    Rules must not be recursive, and no alternative is empty. Only the end of a sentence may hold
    an end mark, so that a text falls into sentences in one way.
    """

    def __init__(self, rules: str, classes: Mapping[str, tuple[float, Mapping[str, float]]]):
        self.classes = classes
        self.productions = _productions(rules)
        self._cumulative = {
            (symbol, tone): list(accumulate(rule.weights[index] for rule in alternatives))
            for symbol, alternatives in self.productions.items()
            for index, tone in enumerate(TONES)
        }
        self._by_first_word = {symbol: self._index(symbol) for symbol in self.productions}
        shapes = self.productions["{review}"]
        self.sentence_symbols = sorted({symbol for shape in shapes for symbol in shape.parts})

    def sample(self, rng: random.Random) -> tuple[str, str]:
        """Draw a text and its class."""
        priors = [prior for prior, _ in self.classes.values()]
        label = rng.choices(list(self.classes), priors)[0]
        _, mixture = self.classes[label]
        cumulative = self._cumulative["{review}", "="]
        shape = rng.choices(self.productions["{review}"], cum_weights=cumulative)[0]
        tones = rng.choices(list(mixture), list(mixture.values()), k=len(shape.parts))
        sentences = zip(shape.parts, tones, strict=True)
        return " ".join(_write(list(self._words(*sentence, rng))) for sentence in sentences), label

    def log_prob(self, text: str) -> float:
        """Return the log-probability of exactly this text in nats; -inf where there is none."""
        sentences = [sentence.strip() for sentence in _SENTENCE.findall(text)]
        if " ".join(sentences) != text:
            return -math.inf
        total = 0.0
        for shape in self.productions["{review}"]:
            if len(shape.parts) == len(sentences):
                total += shape.weights[0] * self._given_shape(shape.parts, sentences)
        return math.log(total) if total else -math.inf

    def grammatical(self, text: str) -> float:
        """Return the share of the sentences, wherever they stand, that the grammar can produce.

        A sentence ends with its end mark; what stands after the last one is a sentence as well.
        A text without any has 0.0.
        """
        sentences = [sentence.strip() for sentence in _SENTENCE.findall(text) if sentence.strip()]
        known = sum(
            any(any(self._given_tone(symbol, sentence)) for symbol in self.sentence_symbols)
            for sentence in sentences
        )
        return known / len(sentences) if sentences else 0.0

    def _words(self, part: str, tone: str, rng: random.Random) -> Iterator[str]:
        if part not in self.productions:
            yield part
            return
        cumulative = self._cumulative[part, tone]
        for inner in rng.choices(self.productions[part], cum_weights=cumulative)[0].parts:
            yield from self._words(inner, tone, rng)

    def _given_shape(self, symbols: Iterable[str], sentences: Iterable[str]) -> float:
        """Return the probability of sentences, each from its symbol: a mixture over classes."""
        by_tone = [
            dict(zip(TONES, self._given_tone(symbol, sentence), strict=True))
            for symbol, sentence in zip(symbols, sentences, strict=True)
        ]
        return sum(
            prior * math.prod(sum(mixture[t] * weights[t] for t in mixture) for weights in by_tone)
            for prior, mixture in self.classes.values()
        )

    def _given_tone(self, symbol: str, sentence: str) -> Weights:
        """Return the probability of the sentence from the symbol, in each tone."""
        words = _read(sentence)
        impossible = (0.0,) * len(TONES)
        # Reading forgives spacing, capitals and articles; writing back what was read does not.
        if not words or _write(words) != sentence:
            return impossible
        return self._spans(symbol, words, 0).get(len(words), impossible)

    def _spans(self, symbol: str, words: list[str], start: int) -> dict[int, Weights]:
        """Return the ends of the symbol that starts at `words[start]`, and their probabilities."""
        spans: dict[int, Weights] = {}
        if start < len(words):
            for production in self._by_first_word[symbol].get(words[start], ()):
                for end, weights in self._follow(production, words, start).items():
                    spans[end] = _sum(spans.get(end), weights)
        return spans

    def _follow(self, production: Production, words: list[str], start: int) -> dict[int, Weights]:
        """Return where one of its productions can end, with each end's probability."""
        reached = {start: production.weights}
        for part in production.parts:
            advanced: dict[int, Weights] = {}
            for position, weights in reached.items():
                if part in self.productions:
                    for end, inner in self._spans(part, words, position).items():
                        joint = tuple(map(operator.mul, weights, inner))
                        advanced[end] = _sum(advanced.get(end), joint)
                elif words[position : position + 1] == [part]:
                    advanced[position + 1] = weights
            reached = advanced
        return reached

    def _index(self, symbol: str) -> dict[str, list[Production]]:
        """Return the symbol's productions by the words that they can begin with."""
        index: dict[str, list[Production]] = {}
        for production in self.productions[symbol]:
            first = production.parts[0]
            for word in self._index(first) if first in self.productions else (first,):
                index.setdefault(word, []).append(production)
        return index


def _sum(before: Weights | None, more: Weights) -> Weights:
    return tuple(map(operator.add, before, more)) if before else more


def _productions(rules: str) -> dict[str, list[Production]]:
    """Return the rules as `{symbol}` -> productions; each tone's weights sum to one."""
    productions: dict[str, list[Production]] = {}
    for rule in re.split(r"\n\s*\n", rules.strip()):
        name, alternatives = rule.split(":", 1)
        tones = name[-1] if name[-1] in TONES else TONES
        symbol = "{" + name.rstrip(TONES) + "}"
        counted = [
            (int(count or 1), tuple(_PART.findall(words)))
            for count, words in re.findall(r"\s*(\d*)([^|]+)", alternatives)
        ]
        total = sum(count for count, _ in counted)
        for count, parts in counted:
            weights = tuple(count / total if tone in tones else 0.0 for tone in TONES)
            productions.setdefault(symbol, []).append(Production(weights, parts))
    return productions


def _write(words: list[str]) -> str:
    """Return the sentence of these words as it is spelled."""
    spelled = [
        "an" if word == "a" and following[0] in "aeiou" else word
        for word, following in pairwise([*words, "."])
    ]
    sentence = re.sub(r" (?=[.,!?])", "", " ".join(spelled))
    return sentence[0].upper() + sentence[1:]


def _read(sentence: str) -> list[str]:
    """Return the words that `_write` would spell like this, if there are any."""
    words = _WORD.findall(sentence)
    if words and words[0] != "I":
        words[0] = words[0][0].lower() + words[0][1:]
    return ["a" if word == "an" else word for word in words]


FILM_REVIEWS = Grammar(RULES, CLASSES)
log_prob = FILM_REVIEWS.log_prob
grammatical = FILM_REVIEWS.grammatical


def sample_reviews(n: int, seed: int) -> list[Review]:
    """Return the first `n` distinct reviews of the stream that `seed` starts.

    Dropping repetitions biases nothing that could be measured: two reviews are the same with
    probability 2.4e-12, so that of 20,000 one is dropped in 2,000 samples.
    """
    rng = random.Random(seed)
    labels: dict[str, str] = {}
    while len(labels) < n:
        labels.setdefault(*FILM_REVIEWS.sample(rng))
    return [Review(text, label) for text, label in labels.items()]
