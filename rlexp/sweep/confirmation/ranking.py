"""Certainty of a ranking: the means of the best trials over further seeds, and their differences.

The best of many trials is also the luckiest, so its own value does not count here. Each mean has a
t interval over seeds. Two trials are set against each other seed by seed: with the same seed they
see the same prompts in the same order, and what both owe to it falls away.

The question, whether the first is better than the others, is asked before the answers are there. So
no correction is due: it is sure where it is sure of each of them (an intersection-union test,
Berger 1982, Technometrics 24:295).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from rlexp.rendering.numbers import number
from rlexp.sweep.ownership import ERROR, WITHDRAWN, trials
from rlexp.sweep.study import CONFIRM, sibling_study

CONFIRMS, SEED = "confirms", "seed"
"""Attributes of a confirming trial: the number of the trial that it runs again, and its seed."""
CONFIDENCE = 0.95
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its t interval; without the interval for fewer than two."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Return the estimate from one value, or more, for each seed."""
        count, mean = len(values), math.fsum(values) / len(values)
        if count < 2:
            return cls(mean, None, None)
        from scipy.stats import t

        variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
        half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(variance / count)
        return cls(mean, mean - half, mean + half)

    def overlaps(self, other: Estimate | None) -> bool:
        """Whether the two intervals have anything in common; not without both."""
        if other is None or self.low is None or other.low is None:
            return False
        assert self.high is not None and other.high is not None
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return number(self.mean)
        return f"{number(self.mean)} [{number(self.low)}, {number(self.high)}]"


@dataclass(frozen=True)
class ConfirmedTrial:
    """A trial, and its runs with other seeds."""

    trial: FrozenTrial
    values: Mapping[int, Sequence[float]]
    """Of the objectives, by seed."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """Why a seed has none."""
    pending: Sequence[int] = ()
    """Seeds that are still to come."""

    def estimate(self, objective: int) -> Estimate | None:
        """Return the mean of an objective over seeds; None before any seed has ended."""
        values = [by_objective[objective] for by_objective in self.values.values()]
        return Estimate.of(values) if values else None


def confirmed_trials(study: optuna.Study) -> list[ConfirmedTrial]:
    """Return the trials that were run again, those that the study ranked first going first."""
    confirmation = sibling_study(study, CONFIRM)
    if confirmation is None:
        return []
    runs_by_trial: dict[int, list[FrozenTrial]] = defaultdict(list)
    for run in trials(confirmation):
        if WITHDRAWN not in run.user_attrs:
            runs_by_trial[run.user_attrs[CONFIRMS]].append(run)
    return [
        _confirmed_trial(trial, runs_by_trial[trial.number])
        for trial in ranked_trials(study)
        if trial.number in runs_by_trial
    ]


def ranked_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials, the best by the first objective going first."""
    sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
    complete = trials(study, TrialState.COMPLETE)
    return sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))


def best_candidates(study: optuna.Study) -> list[FrozenTrial]:
    """Return those that may be the best: all complete ones in their order, or the Pareto front."""
    if len(study.directions) == 1:
        return ranked_trials(study)
    front = {trial.number for trial in study.best_trials}
    return [trial for trial in ranked_trials(study) if trial.number in front]


def _confirmed_trial(trial: FrozenTrial, runs: Sequence[FrozenTrial]) -> ConfirmedTrial:
    """Return what came of a trial's runs; a seed may have failed, and been tried again since."""
    values = {run.user_attrs[SEED]: run.values for run in runs if run.state == TrialState.COMPLETE}
    pending = {run.user_attrs[SEED] for run in runs if not run.state.is_finished()}
    failed = {
        run.user_attrs[SEED]: run.user_attrs.get(ERROR, "for no known reason").splitlines()[0]
        for run in runs
        if run.state == TrialState.FAIL and run.user_attrs[SEED] not in {*values, *pending}
    }
    return ConfirmedTrial(
        trial, dict(sorted(values.items())), failed, sorted(pending - set(values))
    )


def ranking_sentences(study: optuna.Study, confirmed: Sequence[ConfirmedTrial]) -> Iterator[str]:
    """Return how sure it is that the first is the best; nothing before that can be said."""
    if len(confirmed) < 2 or not confirmed[0].values:
        return
    if len(study.directions) > 1:
        yield "With several objectives there is no one ranking: the intervals say how far to trust."
        return
    maximize = study.direction == StudyDirection.MAXIMIZE
    comparisons = [_compare(confirmed[0], other, maximize) for other in confirmed[1:]]
    yield from (sentence for sentence, _ in comparisons)
    verdicts = [verdict for _, verdict in comparisons]
    if all(verdict == BETTER for verdict in verdicts):
        yield f"So the ranking is sure: trial {confirmed[0].trial.number} is the best of these."
    elif WORSE in verdicts:
        yield f"So the ranking does not hold: trial {confirmed[0].trial.number} is not the best."
    else:
        yield "So the ranking is not sure; further seeds may make it so: sweep.confirm=N."


def _compare(first: ConfirmedTrial, other: ConfirmedTrial, maximize: bool) -> tuple[str, str]:
    """Return the first against another by the first objective: a sentence, and the verdict."""
    names = f"Trial {first.trial.number}", f"trial {other.trial.number}"
    shared = [seed for seed in first.values if seed in other.values]
    if not shared:
        return f"{names[0]} and {names[1]} have no seed in common yet: not sure.", UNDECIDED

    # paired by seed
    sign = 1.0 if maximize else -1.0
    gains = [sign * (first.values[seed][0] - other.values[seed][0]) for seed in shared]
    if not any(gains):
        return f"{names[0]} and {names[1]} came to the same with every seed.", UNDECIDED
    gain = Estimate.of(gains)
    wins = sum(value > 0 for value in gains)
    text = f"{names[0]} is better than {names[1]} in {wins} of {len(gains)} seeds"

    # verdict
    if gain.low is None or gain.high is None:
        return f"{text}: one seed says nothing about the next.", UNDECIDED
    text = f"{text}, by {gain} in the mean"
    if gain.low > 0:
        return f"{text}: sure.", BETTER
    if gain.high < 0:
        return f"{text}: it is worse, and was lucky in the sweep.", WORSE
    overlaps = (estimate := first.estimate(0)) and estimate.overlaps(other.estimate(0))
    overlap = ", and their intervals overlap" if overlaps else ""
    return f"{text}, which may be nothing{overlap}: not sure.", UNDECIDED
