"""How large a card may be: its evaluations, best-of-n and guards' looks within a share of the work.

The work is counted in tokens that the model reads, never in seconds: the same command gives the
same card on every machine. A token that is

- read costs 1: a forward pass;
- trained on costs 3 a pass, forward and backward (Kaplan et al. 2020, arXiv:2001.08361, table 1),
  and 1 for what is computed of it beside (the reference, or the log-probabilities of the sampler);
- sampled costs 5: decoding reads all weights for one token a sequence. For SmolLM2-135M on two
  cores it is 3 with 100 sequences at once, 9 with 16 (and 3.8 for forward and backward).

Up to `FREE_FLOPS` a card costs nothing, at 2 operations a weight and token: a model of a few
million weights is measured in full however little it is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

SAMPLED, TRAINED, BESIDE = 5.0, 3.0, 1.0
FREE_FLOPS = 1e13
"""Half a minute to a minute of two cores."""
FEWEST = 32
"""Prompts and texts of an evaluation below which no budget cuts it; one completion each."""
FEWEST_BEST_OF, FEWEST_BEST_OF_PROMPTS = 4, 8
"""Of best-of-n; where less is left it is no yardstick, and is left out."""
LOOKS, BEST_OF = 0.25, 0.25
"""Largest shares of the budget for guards' looks and for best-of-n; the evaluations have the rest.
"""


@dataclass(frozen=True)
class TokenCounts:
    """Tokens, the mean of the first rows; of answers the most that there can be."""

    prompt: float
    answer: int
    """Of an evaluation's samples."""
    text: float
    rollout: int = 0
    """Of an answer that is sampled to be trained on; 0 where none is."""
    example: float = 0.0
    """Of all that a row is trained on, where it is not sampled."""


@dataclass(frozen=True)
class TrainingWork:
    """How much is trained."""

    steps: int
    sequences: int
    """Of a step, sampled or rows."""
    passes: int
    """Over each batch."""


@dataclass(frozen=True)
class CardSize:
    """How much a card measures."""

    prompts: int
    completions: int
    texts: int
    best_of: int
    """0 where it is left out."""
    best_of_prompts: int
    looks_every: int
    """Steps between guards' looks; 0 where none are taken."""
    look_prompts: int = 0
    look_texts: int = 0
    fewest_completions: int = 1
    """2 where the reward compares them."""
    evaluations: int = 2
    """Before, after, and those between."""


def training_tokens(training: TrainingWork, lengths: TokenCounts) -> float:
    """Return what a training costs, in tokens read."""
    trained = lengths.prompt + lengths.rollout if lengths.rollout else lengths.example
    sequence = SAMPLED * lengths.rollout + (TRAINED * training.passes + BESIDE) * trained
    return training.steps * training.sequences * sequence


def fitting_size(
    asked: CardSize, training: TrainingWork, lengths: TokenCounts, share: float, weights: int
) -> CardSize:
    """Return the card that was asked for, or the largest below it that the budget allows.

    Where everything fits, everything is measured. Otherwise guards' looks become rarer, never fewer
    than one at the start and one halfway, until they cost a quarter of the budget. Best-of-n is cut
    to a quarter: n is halved, down to 4, then its prompts are, down to 8, then it is left out. The
    evaluations have all that is left: fewer completions first, since prompts tell more, then fewer
    prompts and texts alike, down to 32.

    Args:
        asked: what the config says.
        training: what it is a card of.
        lengths: of what is read and sampled.
        share: of the training's work that the card may cost.
        weights: of the model.
    """
    budget = max(share * training_tokens(training, lengths), FREE_FLOPS / (2 * weights))
    if card_tokens(asked, training, lengths) <= budget:
        return asked
    size = asked
    for rarer in _rarer_looks(size, training):
        size = rarer
        if looks_tokens(size, training, lengths) <= LOOKS * budget:
            break
    for smaller in _smaller_best_of(size):
        size = smaller
        if best_of_tokens(size, lengths) <= BEST_OF * budget:
            break
    left = budget - looks_tokens(size, training, lengths) - best_of_tokens(size, lengths)
    for completions in range(size.completions, size.fewest_completions - 1, -1):
        size = replace(size, completions=completions)
        if evaluation_tokens(size, lengths) <= left:
            return size
    factor = max(0.0, left) / evaluation_tokens(size, lengths)
    counts = (max(min(FEWEST, n), int(n * factor)) for n in (size.prompts, size.texts))
    prompts, texts = counts
    return replace(size, prompts=prompts, texts=texts)


def card_tokens(size: CardSize, training: TrainingWork, lengths: TokenCounts) -> float:
    """Return what all of a card costs, in tokens read."""
    looks = looks_tokens(size, training, lengths)
    return evaluation_tokens(size, lengths) + best_of_tokens(size, lengths) + looks


def evaluation_tokens(size: CardSize, lengths: TokenCounts) -> float:
    """Return what the evaluations cost: samples, read by policy and reference, and texts."""
    samples = size.prompts * size.completions
    return size.evaluations * (samples * _sample(lengths) + size.texts * lengths.text)


def best_of_tokens(size: CardSize, lengths: TokenCounts) -> float:
    """Return what best-of-n costs, whose samples are read by the reward alone."""
    sample = lengths.prompt + SAMPLED * lengths.answer
    return size.best_of * size.best_of_prompts * sample


def looks_tokens(size: CardSize, training: TrainingWork, lengths: TokenCounts) -> float:
    """Return what the looks of the guards' clock cost; those of a suspicion come on top."""
    if not size.looks_every:
        return 0.0
    samples = size.look_prompts * size.fewest_completions
    look = samples * _sample(lengths) + size.look_texts * lengths.text
    return (1 + (training.steps - 1) // size.looks_every) * look


def _sample(lengths: TokenCounts) -> float:
    read = lengths.prompt + lengths.answer
    return lengths.prompt + SAMPLED * lengths.answer + 2 * read


def _rarer_looks(size: CardSize, training: TrainingWork) -> Iterator[CardSize]:
    """Yield the size with looks every 1, 2, 3, … times as many steps, up to half the training."""
    yield size
    for times in range(2, training.steps):
        every = size.looks_every * times
        if not size.looks_every or 2 * every > training.steps:
            return
        yield replace(size, looks_every=every)


def _smaller_best_of(size: CardSize) -> Iterator[CardSize]:
    yield size
    while size.best_of // 2 >= FEWEST_BEST_OF:
        size = replace(size, best_of=size.best_of // 2)
        yield size
    while size.best_of_prompts // 2 >= FEWEST_BEST_OF_PROMPTS:
        size = replace(size, best_of_prompts=size.best_of_prompts // 2)
        yield size
    yield replace(size, best_of=0)
