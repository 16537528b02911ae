"""What a pipeline came to, in the words of people, on the terminal and on the page alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from rlexp.cards.labels import format_signed
from rlexp.evaluation.changes import Change
from rlexp.evaluation.ranking.agreement import RewardAgreement
from rlexp.pipelines.report.over_optimisation import RewardCurve
from rlexp.pipelines.report.reward_models import GoldAgreement, RewardModelQuality
from rlexp.pipelines.report.rivals import Rivalry
from rlexp.pipelines.report.scales import Gain, Standing, Standings
from rlexp.rendering.numbers import NOTHING, interval, number, share, short

_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")
MOST_IN_HEADLINE = 4
"""Policies of a branch that a headline names."""
ALIKE = 0.5
"""Share of the gold reward's spread below which answers are called alike."""


def headline(stem: Sequence[str], main: Standings | None, stages: int) -> str:
    """Return the way from the base to the best policy, on the scale that matters most.

    Args:
        stem: the policies on that way, the base first.
        main: the scale; None where nothing was measured.
        stages: how many there are.
    """
    if main is None:
        return f"{stages} stages, without a reward that compares them"
    values = {row.policy: row.value for row in main.rows}
    known = [name for name in stem if name in values]
    parts = [f"{short_policy(name)} {short(values[name])}" for name in known]
    if len(parts) > MOST_IN_HEADLINE:
        parts = [*parts[:2], "…", parts[-1]]
    return f"{main.scale.label}: {' → '.join(parts)}"


def short_policy(name: str) -> str:
    """Return a policy's name without the model behind a base.

    >>> short_policy("base (tiny)"), short_policy("sft")
    ('base', 'sft')
    """
    return name.partition(" ")[0]


def first_sentence(text: str) -> str:
    """Return what was seen, without the advice that follows: a stage's card has that.

    >>> first_sentence("Shrank 3.4 → 2.1 tokens. Raise algo.beta.")
    'Shrank 3.4 → 2.1 tokens.'
    """
    return _SENTENCE_END.split(text, maxsplit=1)[0]


def change_cell(change: Change | None) -> str:
    """Return a change with its interval, and what that says; a dash where there is none."""
    return NOTHING if change is None else f"{difference(change)} {change.direction}"


def difference(change: Change) -> str:
    """Return a change with its interval."""
    ends = _ends(change.low, change.high, format_signed)
    return f"{format_signed(change.difference)} {ends}".strip()


def share_cell(value: float | None, low: float | None, high: float | None) -> str:
    """Return a share and its interval, in percent."""
    return NOTHING if value is None else f"{share(value)} {_ends(low, high, share)}".strip()


def wins_cell(gain: Gain) -> str:
    """Return how often answers win, with the interval."""
    return share_cell(gain.wins.rate, gain.wins.low, gain.wins.high)


def value_and_ends(value: float | None, low: float | None, high: float | None) -> str:
    """Return a value with its interval.

    >>> value_and_ends(0.5, 0.25, 0.75)
    '0.500 [0.250, 0.750]'
    """
    return NOTHING if value is None else f"{number(value)} {interval(low, high)}".strip()


def agreement_cell(one: RewardAgreement | None) -> str:
    """Return the share of pairs that two rewards order alike."""
    return share_cell(one.rate, one.low, one.high) if one else NOTHING


def _ends(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    return "" if low is None or high is None else f"[{form(low)}, {form(high)}]"


def stage_sentence(row: Standing, label: str) -> str | None:
    """Return whether a policy is better than the stage before; None where nothing compares them."""
    gain = row.on_parent
    if gain is None:
        return None
    ends = f"{difference(gain.change)} on {gain.prompts} shared prompts"
    wins = f"wins {wins_cell(gain)} of pairs"
    verdict = {"rose": "better than", "fell": "WORSE than", "unclear": "not clearly other than"}
    return (
        f"{row.policy} is {verdict[gain.change.direction]} {gain.other} by {label}: {ends}; {wins}."
    )


def rival_sentence(rivalry: Rivalry, label: str) -> str:
    """Return whether a branch beats another one."""
    gain = rivalry.gain
    spent = f"{rivalry.steps} optimizer steps against {rivalry.other_steps}"
    if rivalry.kl is not None and rivalry.other_kl is not None:
        kl = f"{number(rivalry.kl)} against {number(rivalry.other_kl)} nats a token"
        spent += f", and {kl} from the base"
    verdict, more = {
        "rose": ("beats", ""),
        "fell": ("does not beat", ", it is worse"),
        "unclear": ("does not beat", ", nor the other way"),
    }[gain.change.direction]
    what = f"{rivalry.policy} {verdict} {gain.other} by {label}{more}"
    return f"{what}: {difference(gain.change)} on {gain.prompts} shared prompts; {spent}."


def reward_model_sentences(model: RewardModelQuality) -> Iterator[str]:
    """Yield how well a reward model orders held-out pairs, and whether it is rightly as sure."""
    before = f", {share(model.before)} before its training" if model.before is not None else ""
    yield (
        f"{model.stage} puts {share_cell(model.accuracy, model.low, model.high)} of {model.pairs} "
        f"held-out pairs in the right order{before}."
    )
    known = model.calibration
    sure = model.accuracy + known.overconfidence
    error = share_cell(known.error, known.low, known.high)
    yield (
        f"{model.stage} is {share(sure)} sure of its order on average, {_confidence_word(model)}; "
        f"calibration error {error}, where chance alone makes {share(known.error_by_chance)}."
    )


def _confidence_word(model: RewardModelQuality) -> str:
    low, high = model.calibration.overconfidence_low, model.calibration.overconfidence_high
    if low is None or high is None or low <= 0 <= high:
        return "as it may be"
    return "more than it may be" if low > 0 else "less than it could be"


def agreement_sentence(one: GoldAgreement) -> str:
    """Return whether the reward still orders the policy's own answers as the gold one does."""
    if one.before is None or one.after is None:
        return f"{one.gold} never prefers one of {one.policy}'s answers to a prompt to another."
    what = f"On {one.policy}'s own answers {one.reward} orders pairs as {one.gold} does in"
    ways = f"{agreement_cell(one.before)} before its training and {agreement_cell(one.after)} after"
    verdict = {
        "rose": "it rose",
        "fell": "it FELL, as it does where a reward is over-optimised",
        "unclear": "no clear change",
    }
    direction = one.change.direction if one.change else "unclear"
    alike = ""
    if one.after.spread < ALIKE * one.before.spread:
        spread = f"{number(one.before.spread)} → {number(one.after.spread)}"
        alike = (
            f" Its answers have become alike in {one.gold} (spread in a prompt {spread}), which "
        )
        alike += "by itself makes them harder to order."
    return f"{what} {ways}: {verdict[direction]}.{alike}"


def curve_sentence(curve: RewardCurve) -> str:
    """Return whether the reward still rose while the gold one fell, and since when."""
    reward, gold, last = curve.reward, curve.gold, curve.points[-1].step
    if curve.since_peak is None or curve.gold_since_peak is None:
        return (
            f"{curve.policy}: {gold} is highest at the end (step {last}), {_way(curve.gold_rise)} "
            f"since the start, and {reward} {_way(curve.rise)}: no over-optimisation is seen."
        )
    ways = (
        f"since step {curve.peak} {reward} {_way(curve.since_peak)} and {gold} "
        f"{_way(curve.gold_since_peak)}"
    )
    if curve.over_optimised:
        stage = f"stage.{curve.policy}"
        return (
            f"OVER-OPTIMISED {curve.policy}: {ways}, by step {last}. Stop there "
            f"({stage}.train.max_steps={max(curve.peak, 1)}), keep the best by "
            f"{stage}.train.best_metric=eval/{curve.gold_metric}, or raise {stage}.algo.beta."
        )
    if curve.parted:
        lost = f"that is {share(curve.lost_share)} of what {gold} had gained"
        return (
            f"{curve.policy}: {ways}, by step {last}: {lost}, the beginning of over-optimisation."
        )
    return f"{curve.policy}: {ways}, by step {last}: no over-optimisation is seen beyond chance."


def _way(change: Change | None) -> str:
    if change is None:
        return "is not known"
    word = {"rose": "rose", "fell": "fell", "unclear": "did not clearly change"}[change.direction]
    return f"{word} ({difference(change)})"
