"""A weighted sum of rewards, each of them a named term that can be added or changed by itself.

    total = sum over the terms of  weight x clip(normalise(value)),  where the term's gate is open

`rlexp.scoring` says what each of these is in training and in an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlexp.rewards.common.mix_term import read_clip, read_normalize, read_term
from rlexp.scoring import Scorer
from rlexp.scoring.term_call import under_own_key
from rlexp.spec.errors import Problem, UserError
from rlexp.spec.reward import (
    DataColumn,
    DataColumns,
    RewardSpec,
    Scores,
    StrategyKind,
    Term,
    Text,
    Value,
)

if TYPE_CHECKING:
    import torch

REMEDY = "Add one: +reward@reward.terms.length=length +reward.terms.length.weight=1"


class Mix(RewardSpec):
    """Sum of weight x term; in the range that the terms and their weights give.

    A term is a reward's own config and a `weight`: a number, or a schedule over the optimizer steps
    as a list of [step, weight] or as {from: …, to: …, steps: …}. It may have a `normalize` and a
    `clip` of its own, and `needs: {term: value}`, other terms that must reach a value for this one
    to count. An empty completion scores the weighted sum of what its terms say.

    >>> words = {"_target_": "rlexp.rewards.length.Length", "name": "length", "target": 2,
    ...          "width": 4, "unit": "words", "shape": "triangular", "weight": 0.5}
    >>> fresh = {"_target_": "rlexp.rewards.repetition.Repetition", "name": "repetition",
    ...          "ngram": 1, "weight": 2.0}
    >>> mix = Mix(name="mix", normalize="none", clip=None, terms={"short": words, "fresh": fresh})
    >>> mix.score(["Say"], ["so so"], {})
    Scores(total=[-0.5], terms={'short': [1.0], 'fresh': [-0.5]})
    """

    normalize: str
    """Scale of the terms that do not say their own: their values as they are, z-scores by the
    moments of all values so far, ranks in the batch from -1 to 1, or, for all terms alike,
    distances from the mean of the answers to the same prompt in their standard deviations, whose
    total is whitened (GDPO, arXiv:2601.05242). An evaluation takes z-scores and ranks among the
    values before training, and z-scores for `group`."""
    clip: list[float] | None
    """Bounds [low, high] of each term, normalised where it is, that does not say its own; null
    leaves them."""
    terms: dict[str, dict[str, Any]]
    """The rewards by the names that metrics call them by, each with its weight."""

    def problems(self) -> list[Problem]:
        return self._resolved[1]

    def prepare(self, device: torch.device | str, local_folder: Callable[..., Path]) -> None:
        """Prepare each term."""
        for name, term in self.terms_by_name().items():
            with under_own_key(name):
                term.reward.prepare(device, local_folder)

    def code_files(self) -> list[Path]:
        terms = self._resolved[0].values()
        return [
            *super().code_files(),
            *(path for term in terms for path in term.reward.code_files()),
        ]

    def notes(self) -> list[str]:
        return [note for term in self.terms_by_name().values() for note in term.reward.notes()]

    def columns(self) -> set[str]:
        return set().union(*(term.reward.columns() for term in self._resolved[0].values()))

    def reads_tokens(self) -> bool:
        return any(term.reward.reads_tokens() for term in self._resolved[0].values())

    def bounds(self) -> tuple[float | None, float | None]:
        """Return the sums of the terms' own; unknown where one is unknown or normalised."""
        ends = [_bounds_of(term) for term in self._resolved[0].values()]
        known = [pair for pair in ends if pair is not None]
        if len(known) < len(ends):
            return None, None
        return sum(low for low, _ in known), sum(high for _, high in known)

    def by_design(self) -> dict[StrategyKind, str]:
        """Return the kinds of strategies that every term pays for by design."""
        first, *others = (term.reward.by_design() for term in self._resolved[0].values())
        return {kind: why for kind, why in first.items() if all(kind in term for term in others)}

    def empty_forms(self) -> list[str]:
        forms = (term.reward.empty_forms() for term in self._resolved[0].values())
        return [form for texts in forms for form in texts]

    def reference_column(self) -> str | None:
        columns = (term.reward.reference_column() for term in self._resolved[0].values())
        return next((column for column in columns if column), None)

    def terms_by_name(self) -> dict[str, Term]:
        """Return the terms.

        Raises:
            UserError: they have `problems`.
        """
        terms, problems = self._resolved
        if problems:
            raise UserError(problems)
        return terms

    def __call__(
        self, prompts: list[Text], completions: list[Text], **columns: DataColumn
    ) -> list[Value]:
        return list(self.score(prompts, completions, columns).total)

    def score(self, prompts: list[Text], completions: list[Text], columns: DataColumns) -> Scores:
        """Return the total by the weights that schedules end with, and each term before its weight.

        Raises:
            UserError: the terms have `problems`, or a term finds one in the data.
            RunFailed: a term fails.
        """
        with Scorer(self) as scorer:
            return scorer.once(prompts, completions, columns)

    @cached_property
    def _resolved(self) -> tuple[dict[str, Term], list[Problem]]:
        problems: list[Problem] = []
        terms: dict[str, Term] = {}
        normalize = read_normalize(self.normalize, "reward", problems)
        clip = read_clip(self.clip, "reward", problems)
        for name, config in self.terms.items():
            term = read_term(name, config, normalize, clip, list(self.terms), problems)
            if term is not None:
                terms[name] = term
        if not problems:
            problems += self._groups_and_others(terms)
        if not problems and not any(term.weight.final for term in terms.values()):
            names = ", ".join(self.terms) or "none"
            want = "at least one term whose weight is not 0 in the end"
            problems.append(Problem("reward.terms", names, want, REMEDY))
        return terms, problems

    def _groups_and_others(self, terms: dict[str, Term]) -> list[Problem]:
        """Return a problem where some terms are normalised by group, and others otherwise."""
        others = [name for name, term in terms.items() if term.normalize != "group"]
        if not others or len(others) == len(terms):
            return []
        first, key = others[0], f"reward.terms.{others[0]}.normalize"
        want = "group, as others have it: their total is whitened, which unscaled terms would rule"
        typed = key if "normalize" in self.terms[first] else "reward.normalize"
        return [Problem(key, terms[first].normalize, want, f"Set {typed}=group.")]


def _bounds_of(term: Term) -> tuple[float, float] | None:
    """Return what a term adds for an answer worth nothing, and the most that it adds."""
    low, high = term.reward.bounds()
    if low is None or high is None or term.normalize != "none":
        return None
    if term.clip is not None:
        low, high = (min(max(end, term.clip[0]), term.clip[1]) for end in (low, high))
    nothing, most = low * term.weight.final, high * term.weight.final
    if most > max(nothing, 0.0):
        return nothing, most
    # A penalty is not earned: an answer worth nothing need not bear it.
    best = max(nothing, most)
    return best, best
