"""What to be warned of before people's judgements are trained on, each with what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import pstdev

from rlexp.labelling.agreement import RELIABLE, TENTATIVE
from rlexp.labelling.annotators import FEWEST_SHARED, Profile
from rlexp.labelling.report import FeedbackReport
from rlexp.rendering.numbers import interval, number, share

SHARES = {"shown first": "the answer that was shown first", "longer": "the longer answer"}
MUCH_HIGHER = 0.5
"""Standard deviations of all scores by which an annotator's lie above or below the others'."""
PLACES_SHOWN, PEOPLE_SHOWN = 3, 5


@dataclass(frozen=True)
class Caution:
    """A warning, and what to type or do."""

    what: str
    remedy: str


def cautions(report: FeedbackReport) -> list[Caution]:
    """Return what to look at, the gravest first."""
    return [
        *_about_agreement(report),
        *_about_annotators(report),
        *_about_leans(report),
        *_about_consistency(report),
    ]


def places_shown(places: list[str]) -> str:
    """Return some places, and how many more there are."""
    more = len(places) - PLACES_SHOWN
    return "; ".join(places[:PLACES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _about_agreement(report: FeedbackReport) -> Iterator[Caution]:
    alpha = report.alpha
    if not alpha.items:
        yield Caution(
            "no item was judged by two people: how far they agree is not known",
            "Have some 50 items judged by a second person, and import both files together.",
        )
        return
    if alpha.value is None:
        yield Caution(
            f"all verdicts on the {alpha.items} items that several people judged are the same",
            "Agreement on one verdict alone shows nothing: was there anything to choose?",
        )
        return
    if alpha.value >= RELIABLE:
        return
    ends = f" {interval(*alpha.interval)}" if alpha.interval else ""
    what = f"{alpha.measure}: {number(alpha.value)}{ends} on {alpha.items} items"
    if alpha.value < TENTATIVE:
        what += f"; below {TENTATIVE} Krippendorff's rule draws no conclusions from such verdicts"
    else:
        what += f"; below {RELIABLE} conclusions are tentative by Krippendorff's rule"
    remedy = "Look at what people differ on, and make the instructions clearer"
    if report.shape == "pairs":
        remedy += (
            f". min_votes=2 min_agreement=1 keeps the {report.unanimous} pairs on which all agree"
        )
    elif report.annotators:
        remedy += ". votes=each compares the scores of one person only"
    yield Caution(what, f"{remedy}.")


def _about_annotators(report: FeedbackReport) -> Iterator[Caution]:
    constant = [profile for profile in report.annotators if profile.always is not None]
    at_chance = [
        profile
        for profile in report.annotators
        if profile not in constant and profile.shared >= FEWEST_SHARED and _is_at_chance(profile)
    ]
    if constant:
        listed = _listed([f"{p.name} ({p.verdicts}×)" for p in constant])
        yield Caution(f"always the same verdict: {listed}", _without(constant))
    if at_chance:
        listed = _listed([f"{p.name} ({_kappa(p)})" for p in at_chance])
        what = f"agreement with the others that may be chance alone: {listed}"
        yield Caution(what, _without(at_chance))
    spread = _spread(report)
    apart = [
        p
        for p in report.annotators
        if p.above_others is not None
        and p.shared >= FEWEST_SHARED
        and abs(p.above_others) > MUCH_HIGHER * spread
    ]
    if apart:
        listed = _listed([f"{p.name} ({p.above_others:+.2f})" for p in apart])
        remedy = "votes=each compares the scores of one person only."
        yield Caution(f"scores far from the others' on the same answers: {listed}", remedy)


def _is_at_chance(profile: Profile) -> bool:
    kappa = profile.kappa
    if kappa is None:
        return False
    # without a value the verdicts of both sides never vary
    return kappa.value is not None and kappa.interval is not None and kappa.interval[0] <= 0


def _kappa(profile: Profile) -> str:
    kappa = profile.kappa
    assert kappa is not None and kappa.interval is not None
    return f"kappa {number(kappa.value)} {interval(*kappa.interval)}"


def _listed(people: list[str]) -> str:
    more = len(people) - PEOPLE_SHOWN
    return ", ".join(people[:PEOPLE_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _without(profiles: list[Profile]) -> str:
    names = ",".join(profile.name for profile in profiles[:PEOPLE_SHOWN])
    typed = shlex.quote(f"without=[{names}]")
    return f"Ask them, and look at their verdicts. {typed} leaves them out."


def _spread(report: FeedbackReport) -> float:
    """Return the standard deviation of all scores; of pairs 0."""
    if report.shape == "pairs":
        return 0.0
    return pstdev(float(score) for score, times in report.verdicts.items() for _ in range(times))


def _about_leans(report: FeedbackReport) -> Iterator[Caution]:
    remedies = {
        "shown first": "Was the order shuffled? If not, the better ones may simply stand first. If "
        "it was, show each pair in both orders.",
        "longer": "What is trained on them may learn length: watch eval/length in the run's card, "
        "or mix in a length (reward=mix with the term length).",
    }
    for name, there in report.leans.items():
        if there.interval is None or there.interval[0] <= 0.5 <= there.interval[1]:
            continue
        ends = f"[{share(there.interval[0])}, {share(there.interval[1])}]"
        what = f"{SHARES[name]} wins {share(there.share)} {ends} of {there.verdicts} verdicts"
        yield Caution(what, remedies[name])


def _about_consistency(report: FeedbackReport) -> Iterator[Caution]:
    if report.contradictions:
        places = [" and ".join(entry.places) for entry in report.contradictions]
        what = f"a person judged the same item in different ways, {len(places)}×"
        remedy = "The last one counts; contradictions=drop leaves them out."
        if report.contradictions_rule == "drop":
            remedy = "None counts; contradictions=last takes the last, where people may correct."
        yield Caution(f"{what}: {places_shown(places)}", remedy)
    if report.circles:
        places = [" → ".join(circle) for circle in report.circles]
        what = f"prompts on which verdicts go in a circle (A > B > C > A): {len(places)}"
        remedy = "No reward can follow all of them; more votes tell noise from taste."
        yield Caution(f"{what}: {places_shown(places)}", remedy)
