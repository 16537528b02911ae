"""A run's reward at work: its terms called where each runs best, and their values put together.

**In training** a batch is scored after so many optimizer steps: schedules give the weights of that
step, a z-score is taken with the moments of all values so far, a rank among the batch, and what is
normalised by group among the answers to one prompt. `whiten_totals` gives what is learnt from then.

**In evaluation** numbers must be comparable over the run, which moving weights and moments are not.
So weights are those that the schedules end with, and z-scores and ranks are taken among the values
of the first evaluation, before training: `eval/reward` is then in units of where the policy came
from, and changes only because the policy does. What is normalised by group counts as a z-score
there: against its own group no policy would ever get better. Moments are not touched. What is
scored once, to make rows of it, is its own first evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from statistics import fmean

from rlexp.scoring.all_gather import SingleProcess
from rlexp.scoring.dispatch import Dispatch
from rlexp.scoring.failures import Checks
from rlexp.scoring.normalisation import Moments, normalised_in_groups, whitened
from rlexp.scoring.scales import Scale, as_they_are, scale_of, unscaled
from rlexp.scoring.term_call import Batch, TermResult
from rlexp.scoring.tokens import Tokenize, fill_in_tokens
from rlexp.scoring.total import present, weighted_total
from rlexp.spec.data import SOURCE
from rlexp.spec.reward import WEIGHTED_SUM, DataColumns, RewardSpec, Scores, Term, Text, Value
from rlexp.spec.scoring import ScoringSpec

STRICT = ScoringSpec(on_error="stop", max_missing=1.0, workers=0, probe="off", timeout=None)
"""For a reward outside of a run: any error is raised, and the caller sees what is missing."""


@dataclass(frozen=True)
class ScoredBatch:
    """The rewards of this process's part of a batch, (n,), and metrics as trainers name them."""

    totals: list[float]
    metrics: dict[str, float]


class Scorer(AbstractContextManager["Scorer"]):
    """Calls a reward for the training and the evaluations of a run.

    Attributes:
        moments: of each term that is normalised by running moments: what a checkpoint keeps.
        whitens: whether terms are normalised by group, and their total over the batch.
        sources: names in the column `source`, for each of which a training's rewards are told; none
            where the data is no mix.
        tokenize: gives the token ids of answers that come without, their end token included; None
            where no tokenizer is known.
        heard: called with prompts, completions and columns of what is learnt from.
    """

    def __init__(
        self,
        reward: RewardSpec,
        spec: ScoringSpec = STRICT,
        processes: int = 1,
        gathering: SingleProcess | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        self.reward, self.spec, self.sources = reward, spec, list(sources)
        self.terms: Mapping[str, Term] = reward.terms_by_name()
        by_moments = [name for name, term in self.terms.items() if term.normalize == "zscore"]
        self.moments = dict.fromkeys(by_moments, Moments())
        self.whitens = any(term.normalize == "group" for term in self.terms.values())
        self.tokenize: Tokenize | None = None
        self.heard: Callable[[list[Text], list[Text], DataColumns], None] | None = None
        self._first_values: dict[str, list[float]] = {}  # of the first evaluation, ascending
        self._gathering = gathering or SingleProcess()
        forgiving = spec.on_error == "missing"
        self._dispatch = Dispatch(
            self.terms, spec.workers, processes, allow_missing=forgiving, timeout=spec.timeout
        )

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End worker processes and threads."""
        self._dispatch.close()

    def train(
        self, prompts: list[Text], completions: list[Text], columns: DataColumns, step: int
    ) -> ScoredBatch:
        """Score this process's part of a batch to learn from, after `step` optimizer steps; every
        process must.

        Raises:
            UserError: a term finds a mistake of the user's.
            RunFailed: a term fails and that is not forgiven, or more is missing than may be.
        """
        batch = self.with_tokens(Batch(prompts, completions, columns))
        checks = Checks(self.reward, batch, f"at step {step + 1}", self.spec)
        # each term, on this process's completions
        began = time.perf_counter()
        results = self._call_terms(batch, checks)
        seconds = time.perf_counter() - began
        # the values of all processes: scales, means and what is missing are the whole batch's
        values, groups, sources, local = self._gather(results, batch)
        checks.enough_present(values, results, self._gathering)
        # the total, of which this process needs its own part
        weights = {name: term.weight.at(step) for name, term in self.terms.items()}
        scales = self._scales_of_batch(values, groups)
        totals = weighted_total(self.terms, weights, scales, values, groups=groups)
        checks.all_finite(totals[local])
        if self.heard is not None:
            self.heard(prompts, completions, columns)
        metrics = _metrics(values, results, seconds) | self._by_source(totals, sources)
        if self.whitens:  # else the reward that is logged would be 0 for ever
            as_given = dict.fromkeys(self.terms, as_they_are)
            raw = weighted_total(unscaled(self.terms), weights, as_given, values, groups=groups)
            metrics[WEIGHTED_SUM] = fmean(present(raw))
        return ScoredBatch(present(totals[local]), metrics)

    def whiten_totals(self, totals: list[float]) -> list[float]:
        """Return this process's part of a batch's totals as they are learnt from; every process
        must call it. They are whitened over the whole batch where terms are normalised by group.
        """
        if not self.whitens:
            return totals
        rows, local = self._gathering.gather_rows([[total] for total in totals])
        return whitened(present([total for (total,) in rows]))[local]

    def held_out(self, step: int) -> EvalScorer:
        """Return the scorer of an evaluation after so many steps; in one process."""
        return EvalScorer(self, f"in the evaluation of step {step}")

    def evaluate(self, batch: Batch, when: str) -> Scores:
        """Score samples as every evaluation of the run does; raise as `train` does, saying when."""
        return self._evaluate(self.with_tokens(batch), self._first_values, when)

    def once(self, prompts: list[Text], completions: list[Text], columns: DataColumns) -> Scores:
        """Score completions of which rows are made, before training; in one process."""
        batch = self.with_tokens(Batch(prompts, completions, columns))
        return self._evaluate(batch, {}, "before training")

    def with_tokens(self, batch: Batch) -> Batch:
        """Return a batch with the token ids of all its answers, where the reward reads them.

        Raises:
            UserError: answers that were not sampled, and nothing to make tokens of them.
        """
        if not self.reward.reads_tokens():
            return batch
        return fill_in_tokens(batch, self.tokenize, self.reward.name)

    def remember(self, samples: Sequence[Mapping[str, Value]]) -> None:
        """Take the scale of a first evaluation, of which these are the samples' terms, by an
        earlier attempt.
        """
        for name in self.terms:
            if values := sorted(present([sample.get(name) for sample in samples])):
                self._first_values.setdefault(name, values)

    def state(self) -> dict[str, dict[str, float]]:
        """Return the moments as plain numbers, for JSON, which keeps every bit."""
        return {name: asdict(moments) for name, moments in self.moments.items()}

    def load_state(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Set the moments to those that `state` gave."""
        self.moments |= {
            name: Moments(int(saved["count"]), saved["mean"], saved["squares"])
            for name, saved in state.items()
            if name in self.moments
        }

    def _evaluate(self, batch: Batch, first_values: dict[str, list[float]], when: str) -> Scores:
        """Score by final weights and the scale of `first_values`, which this batch completes."""
        checks = Checks(self.reward, batch, when, self.spec)
        results = self._call_terms(batch, checks)
        values = {name: result.values for name, result in results.items()}
        checks.enough_present(values, results, SingleProcess())
        for name in self.terms:
            if known := sorted(present(values[name])):
                first_values.setdefault(name, known)
        weights = {name: term.weight.final for name, term in self.terms.items()}
        terms = self.terms.items()
        scales = {name: scale_of(term, first_values.get(name, [])) for name, term in terms}
        totals = weighted_total(self.terms, weights, scales, values, groups=None)
        checks.all_finite(totals)
        return Scores(totals, {name: column for name, column in values.items() if name})

    def _call_terms(self, batch: Batch, checks: Checks) -> dict[str, TermResult]:
        results: dict[str, TermResult] = {}
        for name, result in self._dispatch(batch):
            with checks.naming(name):
                results[name] = result()
        checks.no_failure(results)
        return results

    def _gather(
        self, results: Mapping[str, TermResult], batch: Batch
    ) -> tuple[dict[str, list[Value]], list[Value], list[Value], slice]:
        """Return values, groups and sources of all processes' completions, and where this one's
        stand.

        Completions of one prompt are a group, as far as the reward reads the same beside it.
        Prompts and sources travel as numbers, beside the values: that is one exchange between the
        processes, and texts would need another.
        """
        sources: list[Value] = [None] * len(batch)
        if self.sources:
            sources = [float(self.sources.index(name)) for name in batch.columns[SOURCE]]
        known = [result.values for result in results.values()]
        columns = [*known, _group_numbers(batch, self.reward.columns()), sources]
        rows, local = self._gathering.gather_rows([list(row) for row in zip(*columns, strict=True)])
        *values, groups, sources = (list(column) for column in zip(*rows, strict=True))
        return dict(zip(results, values, strict=True)), groups, sources, local

    def _by_source(self, totals: list[Value], sources: list[Value]) -> dict[str, float]:
        """Return the mean reward of each source that has one in the batch, by its metric's name."""
        pairs = [*zip(totals, sources, strict=True)]
        rewards = {
            name: present([total for total, source in pairs if source == number])
            for number, name in enumerate(self.sources)
        }
        return {
            f"rollout/source_reward_{name}": fmean(known)
            for name, known in rewards.items()
            if known
        }

    def _scales_of_batch(
        self, values: Mapping[str, list[Value]], groups: list[Value]
    ) -> dict[str, Scale]:
        """Return what normalises the values of a batch, which the moments take in first."""
        known = {name: present(column) for name, column in values.items()}
        self.moments = {name: m.updated(known[name]) for name, m in self.moments.items()}
        return {
            name: partial(normalised_in_groups, groups=groups)
            if term.normalize == "group"
            else scale_of(term, known[name], self.moments.get(name))
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

    def score(self, prompts: list[Text], completions: list[Text], columns: DataColumns) -> Scores:
        """Score as `RewardSpec.score` does, by the run's own scale."""
        return self.scorer.evaluate(Batch(prompts, completions, columns), self.when)


def _group_numbers(batch: Batch, read: set[str]) -> list[float]:
    """Return the number that stands for each completion's prompt and the columns that are `read`
    beside it; a float holds its 48 bits exactly."""
    columns = [batch.columns[name] for name in sorted(read & batch.columns.keys())]
    rows = zip(batch.prompts, *columns, strict=True)
    return [float(int.from_bytes(sha256(str(row).encode()).digest()[:6])) for row in rows]


def _metrics(
    values: Mapping[str, list[Value]], results: Mapping[str, TermResult], seconds: float
) -> dict[str, float]:
    """Return each term's mean, share of missing values and seconds; all processes' names agree."""
    metrics = {"perf/reward_seconds": seconds}
    for name, column in values.items():
        known = present(column)
        if name:
            metrics[f"perf/reward_{name}_seconds"] = results[name].seconds
        if name and known:
            metrics[f"reward_{name}"] = fmean(known)
        if len(known) < len(column):
            missing = 1 - len(known) / len(column)
            metrics[f"reward_{name}_missing" if name else "reward_missing"] = missing
    return metrics
