"""The film-review grammar: probabilities against enumeration, closed form and frequencies."""

import itertools
import math
import random
import subprocess
import sys
from collections import Counter

import pytest

from rlexp.builtin.grammar import (
    CLASSES,
    FILM_REVIEWS,
    TONES,
    Grammar,
    grammatical,
    log_prob,
    sample_reviews,
)

# Ambiguous on purpose: "fine" belongs to two tones, and "fine fine" and "a odd" to two derivations.
SMALL = Grammar(
    """
review: {opening} {closing} | 2 {opening} {opening} {closing}

opening: it was {judgement}. | 3 it was {judgement} {judgement}. | it was {pair}.

closing: what {pair}! | even {judgement}.

pair: a {judgement} | a odd | fine fine

judgement+: fine | 2 great

judgement-: dull | fine

judgement=: odd
""",
    {"positive": (0.7, {"+": 0.8, "=": 0.2}), "mixed": (0.3, {"+": 0.1, "-": 0.6, "=": 0.3})},
)


def sentences(grammar: Grammar, symbol: str) -> set[str]:
    """Every sentence of a symbol: words are chosen blindly, spelled by hand."""

    def strings(part: str) -> list[str]:
        if part not in grammar.productions:
            return [part]
        return [
            " ".join(words)
            for production in grammar.productions[part]
            for words in itertools.product(*map(strings, production.parts))
        ]

    spelled = [" " + text for text in strings(symbol)]
    for vowel in "aeiou":
        spelled = [text.replace(f" a {vowel}", f" an {vowel}") for text in spelled]
    for mark in ".,!":
        spelled = [text.replace(f" {mark}", mark) for text in spelled]
    return {text[1].upper() + text[2:] for text in spelled}


def small_texts() -> list[str]:
    openings, closings = (sentences(SMALL, symbol) for symbol in ("{opening}", "{closing}"))
    short = itertools.product(openings, closings)
    long = itertools.product(openings, openings, closings)
    return [" ".join(words) for words in itertools.chain(short, long)]


def test_probabilities_of_all_texts_sum_to_one():
    """Catches a derivation that is lost or counted twice, and a class not marginalised over."""
    texts = small_texts()
    assert len(set(texts)) == len(texts) > 1_000
    assert math.fsum(math.exp(SMALL.log_prob(text)) for text in texts) == pytest.approx(
        1, abs=1e-12
    )


def test_probabilities_of_all_closing_sentences_sum_to_one():
    """Catches the same in the real rules, where a tone changes the words."""
    closings = sentences(FILM_REVIEWS, "{closing}")
    review = "The cast of this film was great. I loved it. "
    together = math.fsum(math.exp(log_prob(review + closing)) for closing in closings)
    openings_alone = sum(
        prior * (mixture.get("+", 0) * great_cast()) * (mixture.get("+", 0) / 5 / 10)
        for prior, mixture in CLASSES.values()
    )
    assert together == pytest.approx(openings_alone / 2, rel=1e-12)


def great_cast() -> float:
    """p("The cast of this film was great." | opening, +), counted by hand in the rules."""
    return 1 / 6 * 1 / 22 * 1 / 12 * 2 / 4 * 3 / 5 * 1 / 24


def test_log_prob_is_the_product_counted_by_hand():
    """Catches weights that are not normalised, or not applied, in the real rules."""
    text = "The cast of this film was great. I loved it. What a superb film!"
    sentences_alone = great_cast() * (1 / 5 * 1 / 10) * (1 / 3 * 1 / 24 * 1 / 12)
    classes = 0.4 * 0.85**3 + 0.2 * 0.34**3
    assert log_prob(text) == pytest.approx(math.log(0.5 * classes * sentences_alone), rel=1e-12)


def test_texts_are_drawn_as_often_as_log_prob_says():
    """Catches a sampler and a parser that read the rules differently: Pearson's chi-square."""
    draws = 40_000
    rng = random.Random(0)
    counts = Counter(SMALL.sample(rng)[0] for _ in range(draws))
    expected = {text: draws * math.exp(SMALL.log_prob(text)) for text in small_texts()}
    assert counts.keys() <= expected.keys()
    frequent = [text for text in expected if expected[text] >= 10]
    assert len(frequent) > 200
    chi_square = sum((counts[text] - expected[text]) ** 2 / expected[text] for text in frequent)
    assert abs(chi_square - len(frequent)) < 4 * math.sqrt(2 * len(frequent))


def test_reviews_can_be_read_back():
    """Catches reviews that the parser cannot take back, whatever word or article is in them."""
    for review in sample_reviews(2_000, seed=3):
        assert math.isfinite(review.log_prob)
        assert grammatical(review.text) == 1.0


def test_reviews_are_a_distinct_repeatable_prefix():
    """Catches a sample that depends on its size or on a global random state."""
    random.seed(1)
    reviews = sample_reviews(300, seed=5)
    random.seed(2)
    assert sample_reviews(100, seed=5) == reviews[:100]
    assert sample_reviews(100, seed=6) != reviews[:100]
    assert len({review.text for review in reviews}) == 300
    assert sample_reviews(0, seed=5) == []


def test_classes_have_their_share_and_their_words():
    """Catches labels that do not go with the text: the words of one tone tell the class."""
    reviews = sample_reviews(4_000, seed=0)
    counts = Counter(review.label for review in reviews)
    for label, (share, _) in CLASSES.items():
        assert counts[label] / 4_000 == pytest.approx(share, abs=4 * math.sqrt(0.24 / 4_000))
    judgements = FILM_REVIEWS.productions["{judgement}"]
    words = {tone: set[str]() for tone in TONES}
    for judgement in judgements:
        words[TONES[judgement.weights.index(max(judgement.weights))]].add(judgement.parts[0])
    for review in reviews:
        present = set(review.text.replace(".", "").replace("!", "").replace(",", "").split())
        if review.label == "positive":
            assert not present & words["-"]
        if review.label == "negative":
            assert not present & words["+"]


GOOD = "The cast of this film was great. I loved it. What a superb film!"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        GOOD + " ",
        GOOD.replace(". I", ".  I"),
        GOOD.replace("The", "the"),
        GOOD.removesuffix("!"),
        GOOD.replace("What a superb", "What a awful"),
        GOOD.replace("great", "great and dull"),
        "I loved it. The cast of this film was great. What a superb film!",
        "The cast of this film was great. What a superb film!",
        GOOD + " " + GOOD,
        "\n".join(GOOD.split(" ", 1)),
    ],
)
def test_any_other_text_is_impossible(text: str):
    """Catches a parser that forgives spacing, spelling, order or mixed tones in a sentence."""
    assert math.isfinite(log_prob(GOOD))
    assert log_prob(text) == -math.inf


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("", 0.0),
        (" \n", 0.0),
        ("awesome awesome enjoyable", 0.0),
        ("...", 0.0),
        ("I loved it.", 1.0),
        ("I loved it", 0.0),
        ("I loved it. Even the plot was", 0.5),
        ("What a superb film! I loved it.", 1.0),
        ("I loved it. I loved it it. What an awful film! What a awful film!", 0.5),
        ("I loved it.\nI hated it.", 1.0),
        ("I loved it!", 0.0),
        ("i loved it.", 0.0),
    ],
)
def test_grammatical_counts_sentences(text: str, fraction: float):
    """Catches sentences that are split wrongly, and garbage that passes for grammar."""
    assert grammatical(text) == fraction


def test_import_is_light():
    """Catches a heavy import, which would delay every error message by seconds."""
    code = (
        "import sys, rlexp.builtin.grammar; "
        "print(*{'torch', 'numpy', 'transformers'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
