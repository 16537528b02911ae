"""What a report says of annotators and leanings, and what it warns of."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from feedback import collected, import_spec, pair, rating

from rlexp.labelling.annotators import Profile
from rlexp.labelling.cautions import cautions
from rlexp.labelling.columns import FeedbackLayout
from rlexp.labelling.reading import Feedback, Judgement
from rlexp.labelling.report import FeedbackReport, examine_feedback
from rlexp.labelling.rows import rows_of

ITEMS = 60


def report_of(judgements: list[Judgement], *words: str) -> FeedbackReport:
    shape = "pairs" if len(judgements[0].answers) == 2 else "ratings"
    spec = import_spec("bootstrap=200", *words)
    feedback = Feedback(FeedbackLayout(shape, {}, {}), judgements, lines=len(judgements))
    gathered = collected(*judgements)
    made = rows_of(gathered.items, shape, spec)
    return examine_feedback("x.csv", feedback, gathered, made, spec)


def pairs_by(**people: Callable[[int], str]) -> list[Judgement]:
    """Verdicts of people on the same pairs, of which neither the first nor the longer is better."""
    return [
        pair(f"{name}:{verdict(n)}", prompt=str(n), a="x" * (1 + n % 3), b="y" * (1 + n // 3 % 3))
        for n in range(ITEMS)
        for name, verdict in people.items()
    ]


def truth(n: int) -> str:
    return "ab"[random.Random(n).random() < 0.5]


def wrong_each(step: int) -> Callable[[int], str]:
    return lambda n: truth(n) if n % step else "ab"[truth(n) == "a"]


sloppy = wrong_each(12)


def profile_of(report: FeedbackReport, name: str) -> Profile:
    return next(profile for profile in report.annotators if profile.name == name)


def test_good_work_is_not_warned_of() -> None:
    """Warnings that everybody learns to skip."""
    report = report_of(pairs_by(anna=truth, ben=sloppy, cleo=truth))
    assert cautions(report) == []
    assert report.alpha.value is not None and report.alpha.value > 0.8
    assert report.rows == ITEMS and report.unanimous == ITEMS - 5
    assert report.votes_per_item == {3: ITEMS}


def test_one_who_always_says_the_same() -> None:
    """A clicker who shows in the agreement of all and in nobody's name."""
    report = report_of(pairs_by(anna=truth, ben=sloppy, clicker=lambda n: "a"))
    warnings = {caution.what: caution.remedy for caution in cautions(report)}
    remedy = warnings[f"always the same verdict: clicker ({ITEMS}×)"]
    assert "'without=[clicker]' leaves them out" in remedy
    clicker = profile_of(report, "clicker")
    assert (clicker.always, clicker.first, clicker.ties) == (1.0, 1.0, 0.0)
    assert clicker.alpha_without is not None and report.alpha.value is not None
    assert clicker.alpha_without > 0.8 > report.alpha.value
    assert clicker.kappa is not None and clicker.kappa.value == pytest.approx(0)


def test_one_who_guesses() -> None:
    """A coin that is told from a person by nothing."""
    coin = random.Random(7)
    report = report_of(pairs_by(anna=truth, ben=sloppy, coin=lambda n: coin.choice("ab")))
    (warning,) = [c for c in cautions(report) if c.what.startswith("agreement with the others")]
    assert "coin (kappa" in warning.what and "ben" not in warning.what


def test_two_people_have_cohens_kappa() -> None:
    """The measure that most people know, where it is defined."""
    report = report_of(pairs_by(anna=truth, ben=sloppy))
    measures = {entry.measure: entry for entry in report.agreement}
    assert measures["Cohen's kappa"].items == ITEMS
    assert measures["Cohen's kappa"].value == pytest.approx(
        measures["Fleiss' kappa"].value, abs=0.01
    )
    assert all(entry.interval is not None for entry in report.agreement)
    assert measures["equal verdicts"].value == pytest.approx(1 - 5 / ITEMS)


def test_low_agreement_is_graded_by_krippendorffs_rule() -> None:
    """A warning without what to type; what it promises is not what it gives."""
    coin = random.Random(3)
    judgements = pairs_by(anna=truth, coin=lambda n: coin.choice("ab"))
    report = report_of(judgements)
    (warning,) = [c for c in cautions(report) if c.what.startswith("Krippendorff")]
    assert "below 0.667 Krippendorff's rule draws no conclusions" in warning.what
    assert f"keeps the {report.unanimous} pairs" in warning.remedy
    assert report_of(judgements, "min_votes=2", "min_agreement=1").rows == report.unanimous
    tentative = report_of(pairs_by(anna=truth, ben=wrong_each(8)))
    assert any("tentative" in c.what for c in cautions(tentative)), tentative.alpha


def test_agreement_is_unknown_where_nobody_judged_the_same() -> None:
    """Agreement of nobody shown as perfect, or as zero."""
    judgements = pairs_by(anna=truth)
    report = report_of(judgements)
    assert report.alpha.value is None
    assert [c.what for c in cautions(report)] == [
        "no item was judged by two people: how far they agree is not known"
    ]
    same = report_of(
        [pair(f"{who}:tie", prompt=str(n)) for n in range(9) for who in "ab"], "ties=both"
    )
    assert cautions(same)[0].what.startswith("all verdicts on the 9 items")


@pytest.mark.parametrize(
    ("short_first", "what"),
    [(True, "the longer answer"), (False, "the answer that was shown first")],
)
def test_leanings_are_told_from_each_other(short_first: bool, what: str) -> None:
    """Length taken for place; an interval of verdicts where items were resampled."""
    judgements = [
        pair(
            "anna:" + ("ab"[n % 2] if short_first else "a"),
            prompt=str(n),
            a="x" * (9 if n % 2 == 0 else 1),
            b="yyy",
        )
        for n in range(40)
    ]
    report = report_of(judgements)
    leaning = [c.what for c in cautions(report) if " wins " in c.what]
    assert [text.partition(" wins")[0] for text in leaning] == [what]
    assert "wins 100% [100%, 100%] of 40 verdicts" in leaning[0]


def test_raters_are_compared_on_what_they_share() -> None:
    """A strict rater who only had bad answers; a mild one who goes unnoticed."""
    levels = [1 + n % 4 for n in range(ITEMS)]
    judgements = [
        rating(f"{name}:{score + (name == 'mild')}", prompt=str(n), answer=f"{n}")
        for n, score in enumerate(levels)
        for name in ("anna", "ben", "mild")
    ]
    judgements += [rating("anna:1", prompt=f"bad {n}", answer="z") for n in range(40)]
    report = report_of(judgements, "rows=labelled", "threshold=3")
    anna, mild = profile_of(report, "anna"), profile_of(report, "mild")
    assert (anna.above_others, mild.above_others) == (-0.5, 1.0)
    assert (anna.verdicts, anna.shared) == (ITEMS + 40, ITEMS)
    assert [c.what for c in cautions(report)][-1] == (
        "scores far from the others' on the same answers: mild (+1.00)"
    )
    assert report.level == "ordinal"
    assert {entry.measure for entry in report.agreement} >= {
        *("Krippendorff's alpha, interval", "Krippendorff's alpha, ordinal")
    }


def test_contradictions_and_circles_are_placed() -> None:
    """A count that leaves one to look for the lines."""
    judgements = [
        pair("anna:a", a="A", b="B"),
        pair("anna:a", a="B", b="C"),
        pair("anna:a", a="C", b="A"),
        *(pair("ben:a", prompt="q"), pair("ben:b", prompt="q"), pair("cleo:a", prompt="q")),
    ]
    report = report_of(judgements)
    texts = [caution.what for caution in cautions(report)]
    assert "a person judged the same item in different ways, 1×: f:1 and f:1" in texts
    assert "prompts on which verdicts go in a circle (A > B > C > A): 1: f:1 → f:1 → f:1" in texts
    assert report.own_circles == {"anna": 1}
