"""A run's reward at work: its terms called where each runs best, and their values put together.

**In training** a batch is scored after so many optimizer steps: schedules give the weights of that
step, a z-score is taken with the moments of all values so far, a rank among the batch.

**In evaluation** numbers must be comparable over the run, which moving weights and moments are not.
So weights are those that the schedules end with, and z-scores and ranks are taken among the values
of the first evaluation, before training: `eval/reward` is then in units of where the policy came
from, and changes only because the policy does. Moments are not touched. What is scored once, to
make rows of it, is its own first evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from statistics import fmean
from typing import Any, Self

from rlexp.scoring.all_gather import SingleProcess
from rlexp.scoring.dispatch import Dispatch
from rlexp.scoring.failures import Checks
from rlexp.scoring.normalisation import Moments, rank
from rlexp.scoring.term_call import Batch, TermResult
from rlexp.scoring.total import Scale, present, weighted_total
from rlexp.spec.reward import RewardSpec, Scores, Term, Text, Value
from rlexp.spec.scoring import ScoringSpec

STRICT = ScoringSpec(on_error="stop", max_missing=1.0, workers=0)
"""For a reward outside of a run: any error is raised, and the caller sees what is missing."""


@dataclass(frozen=True)
class ScoredBatch:
    """A batch of a training, scored.

    Attributes:
        totals: (n,), of this process's completions.
        metrics: for the log, as trainers name them.
    """

    totals: list[float]
    metrics: dict[str, float]


class Scorer:
    """Calls a reward for all who need numbers of it.

    Args:
        reward: scores completions.
        spec: what is forgiven, and how many workers there may be.
        processes: of the run; they share the machine's cores.
        together: what connects them.

    Attributes:
        moments: of each term that is normalised by running moments: what a checkpoint keeps.
        heard: called with prompts, completions and columns of what is learnt from.
    """

    def __init__(
        self,
        reward: RewardSpec,
        spec: ScoringSpec = STRICT,
        processes: int = 1,
        together: SingleProcess | None = None,
    ) -> None:
        self.reward, self.spec = reward, spec
        self.terms: Mapping[str, Term] = reward.terms_by_name()
        self.moments = {
            name: Moments() for name, term in self.terms.items() if term.normalize == "zscore"
        }
        self.heard: Callable[[list[Text], list[Text], dict[str, list[Any]]], None] | None = None
        self._first: dict[str, list[float]] = {}
        self._together = together or SingleProcess()
        self._open = ExitStack()
        self._dispatch = self._open.enter_context(
            Dispatch(self.terms, spec.workers, processes, forgiving=spec.on_error == "missing")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End worker processes and threads."""
        self._open.close()

    def train(
        self,
        prompts: list[Text],
        completions: list[Text],
        columns: dict[str, list[Any]],
        step: int,
    ) -> ScoredBatch:
        """Score this process's part of a batch to learn from; every process must.

        Args:
            prompts, completions: n of each.
            columns: the data's, n values each.
            step: optimizer steps done before.

        Raises:
            UserError: a term finds a mistake of the user's.
            RunFailed: a term fails and that is not forgiven, or more is missing than may be.
        """
        batch = Batch(prompts, completions, columns)
        checks = Checks(self.reward, batch, f"at step {step + 1}", self.spec)
        began = time.perf_counter()
        called = self._called(batch, checks)
        seconds = time.perf_counter() - began
        values, groups, mine = self._of_all_processes(called, prompts)
        checks.enough_present(values, called, self._together)
        weights = {name: term.weight.at(step) for name, term in self.terms.items()}
        scales = self._scales_of_batch(values)
        totals = weighted_total(self.terms, weights, scales, values, groups=groups)[mine]
        checks.all_finite(totals)
        if self.heard is not None:
            self.heard(prompts, completions, columns)
        return ScoredBatch(present(totals), _metrics(values, called, seconds))

    def held_out(self, step: int) -> EvalScorer:
        """What scores the samples of an evaluation after so many steps; in one process."""
        return EvalScorer(self, f"in the evaluation of step {step}")

    def evaluate(self, batch: Batch, when: str) -> Scores:
        """Score samples as every evaluation of the run does.

        Args:
            batch: the samples.
            when: for the message of a failure.

        Raises:
            UserError, RunFailed: as `train` does.
        """
        return self._at_rest(batch, self._first, when)

    def once(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> Scores:
        """Score completions of which rows are made, before training; in one process."""
        return self._at_rest(Batch(prompts, completions, columns), {}, "before training")

    def remember(self, samples: Sequence[Mapping[str, Value]]) -> None:
        """What the first evaluation found, where an earlier attempt at the run made it: the terms
        of each sample."""
        for name in self.terms:
            if found := sorted(present([sample.get(name) for sample in samples])):
                self._first.setdefault(name, found)

    def state(self) -> dict[str, Any]:
        """The moments as plain numbers, for JSON, which keeps every bit."""
        return {name: asdict(moments) for name, moments in self.moments.items()}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Take the moments up again that `state` gave."""
        self.moments |= {name: Moments(**state[name]) for name in self.moments if name in state}

    def _at_rest(self, batch: Batch, first: dict[str, list[float]], when: str) -> Scores:
        checks = Checks(self.reward, batch, when, self.spec)
        called = self._called(batch, checks)
        values = {name: each.values for name, each in called.items()}
        checks.enough_present(values, called, SingleProcess())
        for name in self.terms:
            if found := sorted(present(values[name])):
                first.setdefault(name, found)
        weights = {name: term.weight.final for name, term in self.terms.items()}
        scales = {name: _scale(term, first.get(name, [])) for name, term in self.terms.items()}
        totals = weighted_total(self.terms, weights, scales, values, groups=None)
        checks.all_finite(totals)
        return Scores(totals, {name: each for name, each in values.items() if name})

    def _called(self, batch: Batch, checks: Checks) -> dict[str, TermResult]:
        called: dict[str, TermResult] = {}
        for name, result in self._dispatch(batch):
            with checks.naming(name):
                called[name] = result()
        checks.no_failure(called)
        return called

    def _of_all_processes(
        self, called: Mapping[str, TermResult], prompts: list[Text]
    ) -> tuple[dict[str, list[Value]], list[Value], slice]:
        """Values, the group of each completion (those of one prompt), and this process's part."""
        numbers = [_number(prompt) for prompt in prompts]
        columns = [*(c.values for c in called.values()), numbers]
        everyones, mine = self._together.everything(
            [list(row) for row in zip(*columns, strict=True)]
        )
        *values, groups = (list(each) for each in zip(*everyones, strict=True))
        return dict(zip(called, values, strict=True)), groups, mine

    def _scales_of_batch(self, values: Mapping[str, list[Value]]) -> dict[str, Scale]:
        """What normalises the values of a batch, after the moments have taken them in."""
        there = {name: present(each) for name, each in values.items()}
        self.moments = {name: m.with_(there[name]) for name, m in self.moments.items()}
        return {
            name: _scale(term, there[name], self.moments.get(name))
            for name, term in self.terms.items()
        }


@dataclass(frozen=True)
class EvalScorer:
    """A scorer as an evaluation sees a reward."""

    scorer: Scorer
    when: str

    @property
    def scores_anything(self) -> bool:
        return self.scorer.reward.scores_anything

    def score(
        self, prompts: list[Text], completions: list[Text], columns: dict[str, list[Any]]
    ) -> Scores:
        """As `RewardSpec.score`, by the run's own scale."""
        return self.scorer.evaluate(Batch(prompts, completions, columns), self.when)


def _scale(term: Term, among: list[float], moments: Moments | None = None) -> Scale:
    """What normalises a term's values: among some values, or by moments, where these are given."""
    if term.normalize == "zscore":
        return (moments or Moments.of(among)).zscore
    if term.normalize == "rank":
        ordered = sorted(among)
        return lambda value: rank(value, ordered)
    return lambda value: value


def _number(prompt: Text) -> float:
    """A number that stands for a prompt in every process; a float holds 48 bits exactly."""
    return float(int.from_bytes(sha256(str(prompt).encode()).digest()[:6]))


def _metrics(
    values: Mapping[str, list[Value]], called: Mapping[str, TermResult], seconds: float
) -> dict[str, float]:
    """Each term's mean, share of missing values and seconds; the same names in every process."""
    metrics = {"perf/reward_seconds": seconds}
    for name, each in values.items():
        there = present(each)
        if name:
            metrics[f"perf/reward_{name}_seconds"] = called[name].seconds
        if name and there:
            metrics[f"reward_{name}"] = fmean(there)
        if len(there) < len(each):
            missing = 1 - len(there) / len(each)
            metrics[f"reward_{name}_missing" if name else "reward_missing"] = missing
    return metrics
