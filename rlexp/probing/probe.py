"""A probe of a reward: every strategy, the references and the model's own answers, scored at once.

One batch, so that all are on one scale (z-scores, ranks), and that a judge which compares the
answers to a prompt compares these with each other. Nothing is learnt from it, no moments are kept,
and the global random generators are left as they were, whatever the reward draws from them.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from rlexp.evaluation.bootstrap import bootstrap_ratio
from rlexp.probing.earnings import POLICY, REFERENCES, Earnings, Example, RewardProbe
from rlexp.probing.material import Material, answers_to
from rlexp.probing.strategies import STRATEGIES, Answers
from rlexp.scoring import Scorer
from rlexp.scoring.term_call import Batch, call
from rlexp.scoring.tokens import Tokenize
from rlexp.scoring.total import present
from rlexp.spec.reward import Place, RewardSpec, Scores, StrategyKind, Value
from rlexp.spec.scoring import ScoringSpec

LENIENT = ScoringSpec(on_error="missing", max_missing=1.0, workers=0, probe="off", timeout=None)


@dataclass(frozen=True)
class Size:
    """How much of a probe is taken.

    Attributes:
        rows: held-out prompts.
        variants: of each strategy, at most.
    """

    rows: int
    variants: int


COMMAND: Mapping[Place, Size] = {
    "workers": Size(64, 8),
    "here": Size(32, 4),
    "threads": Size(16, 3),
}
"""By where a reward runs, which says what an answer costs: a function's microseconds, a model's
milliseconds, a judge's question or a program in a sandbox."""
BEFORE_TRAINING: Mapping[Place, Size] = {
    "workers": Size(16, 8),
    "here": Size(8, 1),
    "threads": Size(4, 1),
}


def size_of(reward: RewardSpec, sizes: Mapping[Place, Size]) -> Size:
    """Return the size of a probe that a reward can pay for; of a mix that of its dearest term."""
    terms = [sizes[term.reward.runs_in()] for term in reward.terms_by_name().values()]
    return Size(min(size.rows for size in terms), min(size.variants for size in terms))


def probe(
    reward: RewardSpec,
    material: Material,
    variants: int,
    own_answers: Sequence[Sequence[str]] = (),
    bootstrap: tuple[int, int] | None = None,
    tokenize: Tokenize | None = None,
) -> RewardProbe:
    """Return what a prepared reward pays.

    Args:
        reward: is called once with all answers.
        material: n held-out prompts.
        variants: of each strategy, at most; the best paid counts.
        own_answers: (n, k) of the model; may be left out.
        bootstrap: resamples and seed of the intervals; None leaves them out.
        tokenize: gives the tokens of answers, for a reward that reads them.

    Raises:
        UserError: the reward finds a mistake of the user's, such as a column that is not there.
        RunFailed: the reward fails on all answers together.
    """
    began = time.perf_counter()
    origins = [*_origins(material, variants, own_answers)]
    pairs = [pair for origin in origins for variant in origin.variants for pair in variant]
    with _random_states_kept(), Scorer(reward, LENIENT) as scorer:
        scorer.tokenize = tokenize
        batch = scorer.with_tokens(_batch(material, pairs))
        scores = scorer.once(batch.prompts, batch.completions, batch.columns)
        scored = iter(
            _Scored(row, text, scores.total[index], _terms(scores, index), index)
            for index, (row, text) in enumerate(pairs)
        )
        earnings = []
        for origin in origins:
            groups = [[*islice(scored, len(variant))] for variant in origin.variants]
            best = max(groups, key=_paid)
            failure = _failure(reward, batch, best)
            earnings.append(_earnings(origin, best, failure, material, bootstrap))
    return RewardProbe(
        reward=reward.name,
        rows=len(material.prompts),
        bounds=reward.bounds(),
        by_design=reward.by_design(),
        earnings=earnings,
        seconds=time.perf_counter() - began,
    )


Pairs = list[tuple[int, str]]
"""Rows of prompts, each with an answer to it."""


@dataclass(frozen=True)
class _Origin:
    """Where answers come from; of several variants the best paid counts."""

    name: str
    kind: StrategyKind | None
    variants: list[Pairs]


@dataclass(frozen=True)
class _Scored:
    """An answer, its value and that of each term; `index` is its place in the batch."""

    row: int
    text: str
    value: Value
    terms: dict[str, Value]
    index: int


def _origins(
    material: Material, variants: int, own_answers: Sequence[Sequence[str]]
) -> Iterator[_Origin]:
    """Yield what has any answers."""
    own = [(row, text) for row, texts in enumerate(own_answers) for text in texts]
    given = [_Origin(REFERENCES, None, [_pairs(material.references)]), _Origin(POLICY, None, [own])]
    strategies = (
        _Origin(
            strategy.name,
            strategy.kind,
            [*map(_pairs, islice(strategy.variants(material), variants))],
        )
        for strategy in STRATEGIES
    )
    for origin in (*given, *strategies):
        answered = [variant for variant in origin.variants if variant]
        if answered:
            yield replace(origin, variants=answered)


def _pairs(answers: Answers) -> Pairs:
    return [(row, text) for row, text in enumerate(answers) if text is not None]


def _batch(material: Material, pairs: Pairs) -> Batch:
    rows = [row for row, _ in pairs]
    prompts = [material.prompts[row] for row in rows]
    columns = {name: [cells[row] for row in rows] for name, cells in material.columns.items()}
    return Batch(prompts, answers_to(prompts, [text for _, text in pairs]), columns)


def _terms(scores: Scores, index: int) -> dict[str, Value]:
    return {name: values[index] for name, values in scores.terms.items()}


def _failure(reward: RewardSpec, batch: Batch, scored: Sequence[_Scored]) -> str:
    """Return what the reward does where it has no value; empty where it cannot tell."""
    for answer in scored:
        if answer.value is None:
            alone = batch.part(answer.index, answer.index + 1)
            for term in reward.terms_by_name().values():
                for failure in call(term.reward, alone, True).failures:
                    return failure.what
            return ""
    return ""


def _earnings(
    origin: _Origin,
    scored: Sequence[_Scored],
    failure: str,
    material: Material,
    bootstrap: tuple[int, int] | None,
) -> Earnings:
    known = [answer for answer in scored if answer.value is not None]
    mean = _mean(answer.value for answer in known)
    shown = min(known or scored, key=lambda answer: abs((answer.value or 0.0) - (mean or 0.0)))
    return Earnings(
        name=origin.name,
        kind=origin.kind,
        mean=mean,
        interval=_interval(known, *bootstrap) if bootstrap else None,
        terms={name: _mean(answer.terms[name] for answer in scored) for name in scored[0].terms},
        answers=len(scored),
        missing=len(scored) - len(known),
        failure=failure,
        example=Example(material.asked[shown.row], shown.text, shown.value),
        texts=tuple(dict.fromkeys(answer.text for answer in scored)),
    )


def _paid(scored: Sequence[_Scored]) -> float:
    mean = _mean(answer.value for answer in scored)
    return -math.inf if mean is None else mean


def _interval(known: Sequence[_Scored], resamples: int, seed: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean, the answers to a prompt drawn together."""
    values: dict[int, list[float]] = {}
    for answer in known:
        values.setdefault(answer.row, []).append(answer.value or 0.0)
    sums, counts = [sum(row) for row in values.values()], [len(row) for row in values.values()]
    return bootstrap_ratio(sums, counts, resamples, seed)


def _mean(values: Iterable[Value]) -> float | None:
    known = present([*values])
    return fmean(known) if known else None


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Put the global generators back behind the block, of the libraries that are loaded by then."""
    python_state = random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numpy_state = numpy.random.get_state() if numpy else None
    torch_state = torch.random.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)
        if torch:
            torch.random.set_rng_state(torch_state)
