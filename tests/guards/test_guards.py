"""What the guards make of numbers: what fires, what does not, and why."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from runs import composed

from rlexp.evaluation.results import Evaluation, Sample
from rlexp.guards import reward_hacking, training_health
from rlexp.guards.training_health import Finding, Series
from rlexp.spec.guards import GuardsSpec

START = {
    "reward": -0.03,
    "grammatical": 0.984,
    "reference_perplexity": 3.68,
    "perplexity": 3.28,
    "distinct_2": 0.499,
    "length": 31.5,
}
BETTER = START | {"reward": 0.95}


def spec(**changes: Any) -> GuardsSpec:
    return GuardsSpec.model_validate(composed()["guards"] | changes)


def look(metrics: dict[str, float], **values: list[Any]) -> Evaluation:
    """A look with these metrics; `gold` and `terms` give a sample each."""
    gold, terms = values.get("gold", [0.0, 1.0]), values.get("terms", [0.0, 1.0])
    samples = [
        Sample(f"prompt {i}", "text", 0.5, {"a": term}, 4, True, 1.0, {"b": of_gold})
        for i, (of_gold, term) in enumerate(zip(gold, terms, strict=True))
    ]
    return Evaluation(metrics, {}, [], samples)


def evidence(now: dict[str, float], start: dict[str, float] = START) -> float:
    return reward_hacking.total_evidence(
        reward_hacking.evidence(look(start), look(now), spec(), {}, {})
    )


def test_the_planted_case_stands_out_of_sound_runs() -> None:
    """GRPO without KL, four steps before its grammar is under 0.8, and the end of CPO, which has
    no reference either: each measure alone would take the two for the same."""
    planted = {"grammatical": 0.9, "reference_perplexity": 4.71, "distinct_2": 0.369}
    sound = {"grammatical": 0.91, "reference_perplexity": 3.8, "distinct_2": 0.39}
    assert evidence(BETTER | planted | {"length": 39.3, "perplexity": 4.2}) > spec().threshold
    assert evidence(BETTER | sound | {"length": 37.2, "perplexity": 6.1}) < 0.8 * spec().threshold


@pytest.mark.parametrize("change", [{"grammatical": 0.75}, {"reference_perplexity": 9.0}])
def test_one_measure_that_falls_far_is_enough(change: dict[str, float]) -> None:
    """Measures that are capped, or averaged, so that one that breaks is drowned by the rest."""
    assert evidence(BETTER | change) >= spec().threshold


def test_a_reward_that_does_not_rise_is_not_hacked() -> None:
    """A policy that merely gets worse: other guards say so, and with other knobs."""
    assert evidence(START | {"grammatical": 0.2}) == 0
    without = {name: value for name, value in START.items() if name != "reward"}
    assert evidence(without | {"grammatical": 0.2}, without) == 0


def test_what_a_task_may_ask_for_is_not_enough() -> None:
    """`reward=length` with a short target, or a narrow subject, must not be called hacked."""
    asked = {"length": 3.0, "distinct_2": 0.05, "perplexity": 99.0}
    assert evidence(BETTER | asked) < spec().threshold


def test_what_comes_in_a_step_and_may_go_in_a_step_is_waited_for() -> None:
    """PPO on the film reviews at its steps 5 to 10, whose KL penalty took an update back; and a
    policy that drifts."""
    knobs = spec()
    overshot = [(5, 0.6), (6, 2.0), (7, 3.1), (8, 3.2), (9, 1.7), (10, 1.0)]
    assert not any(reward_hacking.has_lasted(overshot[:n], knobs) for n in range(1, 6))
    drifting = [(13, 1.1), (15, 1.4), (16, 1.8), (17, 2.2)]
    assert reward_hacking.has_lasted(drifting, knobs)
    assert not reward_hacking.has_lasted([*drifting[:-1], (17, 0.2)], knobs)


def test_looks_come_closer_as_the_evidence_grows() -> None:
    """A look every ten steps comes too late for what takes five."""
    knobs = spec()
    assert [reward_hacking.steps_to_next_probe(found, knobs) for found in (0.5, 1.1, 1.7)] == [
        knobs.every,
        2,
        1,
    ]


def test_answers_call_for_a_look() -> None:
    """Suspicion that adds improvements of one measure to another's fall, or never comes."""
    worse = {"grammatical": 0.95, "distinct_2": 0.34, "length": 36.0}
    assert reward_hacking.answers_are_suspicious(START, worse, spec())
    honest = {"grammatical": 0.97, "distinct_2": 0.42, "length": 32.5}
    assert not reward_hacking.answers_are_suspicious(START, honest, spec())
    assert reward_hacking.answers_are_suspicious(
        START, worse | {"reference_perplexity": 1.0}, spec()
    )


def test_gold_that_falls_is_hacking_and_gold_that_is_missing_is_nothing() -> None:
    """A mean that takes None for 0; a fall that is judged in the gold's own unit."""
    knobs, start = spec(), look(START, gold=[0.0, 100.0])
    for values, wanted in [([-50.0, 100.0], 2.0), ([None, 25.0], 2.0), ([None, None], 0.0)]:
        found = reward_hacking.evidence(start, look(BETTER, gold=values), knobs, {}, {})
        assert reward_hacking.total_evidence(found) == pytest.approx(wanted), values


@pytest.mark.parametrize(("pays", "wanted"), [("text", 4.0), ("else", 0.0)])
def test_a_strategy_that_pays_and_is_taken_up_is_hacking(pays: str, wanted: float) -> None:
    """Answers that echo the prompt, which each other measure takes for good language."""
    start, now = look(START), look(BETTER)
    start = replace(start, samples=[replace(each, completion="x") for each in start.samples])
    strategies = {"an echo": lambda prompt, answer: answer == pays}
    found = reward_hacking.evidence(start, now, spec(), {}, strategies)
    assert reward_hacking.total_evidence(found) == wanted
    assert [measure.words for measure in found] == (
        ["answers like a strategy that pays, an echo, 0% → 100%"] if wanted else []
    )


@pytest.mark.parametrize(("weight", "values"), [(1.0, [-1.0, 1.0]), (-2.0, [0.0, 2.0])])
def test_a_term_that_the_others_outweigh_counts_by_the_sign_of_its_weight(
    weight: float, values: list[float]
) -> None:
    """One term of a mix that pays for the fall of another; a penalty that falls is good news."""
    knobs = spec()
    ends = look(START), look(BETTER, terms=values)
    for sign in (1, -1):
        found = reward_hacking.evidence(*ends, knobs, {"a": sign * weight}, {})
        assert reward_hacking.total_evidence(found) == (4.0 if sign == 1 else 0.0)


def test_the_samples_that_show_it_are_the_worst_that_are_paid_best() -> None:
    """Samples in the order of the prompts, which show what is still sound."""
    made = [(1.0, 0.99), (0.0, 0.2), (0.0, 0.9), (0.5, 0.95)]
    samples = [Sample("p", str(i), pay, {}, 4, True, g) for i, (g, pay) in enumerate(made)]
    assert [each.completion for each in reward_hacking.worst_samples(samples)] == ["2", "1", "3"]


def series(**values: list[float]) -> Series:
    found = Series()
    for name, each in values.items():
        for step, value in enumerate(each, 1):
            found.add(step, {name.replace("__", "/"): value})
    return found


NOISE = [0.1, -0.12, 0.08, 0.11, -0.09, 0.13, -0.1, 0.1, 0.09, -0.11]


@pytest.mark.parametrize(
    ("guard", "values", "says"),
    [
        ("kl_budget", {"rollout__kl": [0.1] * 5 + [0.9, 1.1, 1.3]}, "nats a token"),
        ("kl_budget", {"guard__kl": [0.0, 1.2]}, "guards.kl_limit=1"),
        ("forgetting", {"guard__perplexity": [3.3, 6.8]}, "3.3 → 6.8"),
        ("collapse", {"rollout__entropy": [1.2] * 4 + [0.3] * 3}, "entropy"),
        ("collapse", {"guard__distinct_2": [0.5, 0.2], "guard__length": [30, 31]}, "repeat"),
        ("collapse", {"rollout__frac_reward_zero_std": [0.95] * 10}, "nothing to learn"),
        ("instability", {"train__ratio": [1.0, 2.5]}, "ratio"),
        ("instability", {"train__loss": [*NOISE, 2.4, 0.1, 2.9]}, "loss jumped"),
        ("instability", {"train__grad_norm": [3.0, 3.2] * 5 + [40.0] * 3}, "grad norm jumped"),
        ("instability", {"rollout__kl": [0.05] * 10 + [0.3] * 3}, "kl jumped"),
    ],
)
def test_each_danger_is_seen_with_its_knob(guard: str, values: Any, says: str) -> None:
    """A guard that reads another metric than the one that trainers log, or has no remedy."""
    seen = training_health.HEALTH[guard](series(**values), spec())
    assert isinstance(seen, Finding)
    assert says in seen.what
    assert "algo." in seen.remedy and seen.cause


@pytest.mark.parametrize(
    ("guard", "values"),
    [
        ("kl_budget", {"rollout__kl": [0.1] * 7 + [1.2]}),
        ("forgetting", {"guard__perplexity": [3.3, 6.1]}),
        ("collapse", {"rollout__entropy": [1.25, 1.2, 1.2, 1.1, 1.0, 1.0]}),
        ("collapse", {"guard__distinct_2": [0.5, 0.2], "guard__length": [30, 90]}),
        ("collapse", {"rollout__frac_reward_zero_std": [1.0] * 9}),
        ("instability", {"train__loss": [*NOISE, 0.4, 0.4, 0.4]}),
        ("instability", {"train__loss": [*NOISE, -9.0, -9.0, -9.0]}),
        ("instability", {"train__grad_norm": [0.01] * 10 + [0.4] * 3}),
        ("instability", {"rollout__kl": [0.05] * 4 + [0.9] * 3}),
        ("instability", {"train__grad_norm": [0.3] * 12 + [2.7]}),
    ],
)
def test_what_is_noise_is_left_alone(guard: str, values: Any) -> None:
    """One value out of many, a curve that is too short, a fall of what may fall."""
    assert training_health.HEALTH[guard](series(**values), spec()) is None


def test_a_flat_curve_has_no_deviation_and_still_no_jump() -> None:
    """A median deviation of 0 makes any rise infinite."""
    assert not training_health.is_jump(1.5, [1.0] * 10, spike=10.0, least=0.1)
    assert training_health.is_jump(2.5, [1.0] * 10, spike=10.0, least=0.1)


def test_numbers_that_are_not_finite_are_left_to_what_ends_the_run() -> None:
    """A NaN in a mean hides what comes after it."""
    assert series(train__loss=[1.0, math.nan, 2.0]).values("train/loss") == [1.0, 2.0]
