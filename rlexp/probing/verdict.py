"""What a probe says of a reward: which strategies pay, and whether right answers earn enough.

A strategy pays where it earns more than `ENOUGH` of what the references earn, counted from what an
answer worth nothing earns. Where the data has no references, or the reward is not meant for them
(praise, where solutions of sums are the data), it is counted in the most that the reward can give.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlexp.probing.earnings import REFERENCES, Earnings, RewardProbe
from rlexp.rendering.numbers import number, share
from rlexp.spec.reward import StrategyKind

ENOUGH = 0.5
"""Share of the references' earnings above which a strategy pays, and of the most that is known
below which the references earn too little."""
REMEDIES: dict[StrategyKind, str] = {
    "nothing": "Give an empty answer the least value that there is.",
    "echo": "Score what is new: a final, marked answer, without the prompt's own words.",
    "answers": "Compare each answer with its own row (reward.column names a column), or with its "
    "prompt. If the reward is to judge an answer by itself, this is as it should be.",
    "repetition": "Mix in a penalty (reward=mix with the term repetition), or raise its weight.",
    "length": "Mix in a length (reward=mix with the term length), or raise its weight.",
    "form": "Grade the content as well (reward.column), or let the form count behind a gate "
    "(needs) of a term that does.",
    "evasion": "Compare with a right answer, or give evasion the least value.",
    "injection": "If a judge scores, show it the right answer ({column} in its rubric), have it "
    "compare pairs (its mode pairwise), or take another one.",
}


@dataclass(frozen=True)
class ProbeWarning:
    """What is wrong with a reward, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class ProbeVerdict:
    """What a probe says.

    Attributes:
        yardstick: what strategies are measured by: the references' earnings, or the most that is
            known; None where neither is.
        measured_by: the yardstick in words.
        paid: strategies that pay, the best paid first.
        by_design: those among them that must, by the reward's own word.
        warnings: of all the rest, and of the references.
    """

    yardstick: float | None
    measured_by: str
    paid: list[Earnings]
    by_design: list[Earnings]
    warnings: list[ProbeWarning]


def judge_probe(probe: RewardProbe) -> ProbeVerdict:
    """Return what a probe says of its reward."""
    yardstick, measured_by = _yardstick(probe)
    paid = [
        earned
        for earned in probe.strategies
        if (share_of(probe, earned, yardstick) or 0.0) > ENOUGH
    ]
    paid.sort(key=lambda earned: -(earned.mean or 0.0))
    by_design = [earned for earned in paid if earned.kind in probe.by_design]
    unwanted = [earned for earned in paid if earned not in by_design]
    warnings = [
        *_about_paid(probe, unwanted, yardstick, measured_by),
        *_about_references(probe),
        *_about_failures(probe),
    ]
    return ProbeVerdict(yardstick, measured_by, paid, by_design, warnings)


def share_of(probe: RewardProbe, earnings: Earnings, most: float | None) -> float | None:
    """Return the part of `most` that is earned, from what an answer worth nothing earns."""
    if earnings.mean is None or most is None or most <= probe.nothing:
        return None
    return (earnings.mean - probe.nothing) / (most - probe.nothing)


def _yardstick(probe: RewardProbe) -> tuple[float | None, str]:
    most, references = probe.bounds[1], probe.references
    if references is None or references.mean is None:
        return most, "the most that it can give"
    of_most = share_of(probe, references, most)
    meant_for_it = "answers" not in probe.by_design or of_most is None or of_most >= ENOUGH
    if not meant_for_it or references.mean <= probe.nothing:
        return most, "the most that it can give"
    return references.mean, "what the reference answers earn"


def _about_paid(
    probe: RewardProbe, paid: list[Earnings], yardstick: float | None, measured_by: str
) -> list[ProbeWarning]:
    """Return a warning for each kind of strategies that pay, the best paid first."""
    warnings = []
    kinds: list[StrategyKind] = [earned.kind for earned in paid if earned.kind]
    for kind in dict.fromkeys(kinds):
        best, *others = (earned for earned in paid if earned.kind == kind)
        part = share(share_of(probe, best, yardstick) or 0.0)
        what = f"{best.name} earns {number(best.mean)}, {part} of {measured_by}"
        also = "".join(f", {earned.name} {number(earned.mean)}" for earned in others)
        warnings.append(ProbeWarning(f"{what} ({number(yardstick)}){also}", REMEDIES[kind]))
    return warnings


def _about_references(probe: RewardProbe) -> list[ProbeWarning]:
    references, most = probe.references, probe.bounds[1]
    if references is None:
        unknown = [earned for earned in probe.earnings if earned.name == REFERENCES]
        what = "no reference answer has a value: the reward cannot tell of any"
        remedy = "Look at the column that it reads (reward.column): is the right answer there?"
        return [ProbeWarning(what, remedy)] if unknown else []
    if "answers" in probe.by_design:  # right answers are nothing that it knows
        return []
    warnings = []
    earned = share_of(probe, references, most)
    if earned is not None and earned < ENOUGH:
        what = (
            f"the data's own reference answers earn {number(references.mean)}, {share(earned)} of "
            f"the most that it can give ({number(most)})"
        )
        remedy = (
            "Look at the example: does the reward read answers in this form, and the right column?"
        )
        warnings.append(ProbeWarning(what, remedy))
    elif earned is None and (references.mean or 0.0) <= probe.nothing:
        what = f"the reference answers earn {number(references.mean)}, no more than the worst text"
        remedy = "Does the reward read answers in this form? Is more of it better?"
        warnings.append(ProbeWarning(what, remedy))
    if references.missing:
        what = f"{references.missing} of {references.answers} reference answers have no value"
        remedy = "Is the right answer of these rows in the column that the reward reads?"
        warnings.append(ProbeWarning(what, remedy))
    return warnings


def _about_failures(probe: RewardProbe) -> list[ProbeWarning]:
    remedy = (
        "A training ends at the first such answer: mend the reward, or set "
        "scoring.on_error=missing, which leaves such answers out."
    )
    failures: dict[str, list[str]] = {}
    for earned in probe.earnings:
        if earned.failure:
            failures.setdefault(earned.failure, []).append(earned.name)
    return [
        ProbeWarning(f"on {', '.join(names)} the reward {failure}", remedy)
        for failure, names in failures.items()
    ]
