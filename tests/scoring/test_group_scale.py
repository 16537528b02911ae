"""Terms that are normalised within groups (GDPO): against slow loops, and where a sum hides."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from scored_rewards import columns_of, mix_of

from rlexp.scoring import Scorer
from rlexp.scoring.all_gather import SingleProcess
from rlexp.spec.reward import RewardSpec

COLLAPSING = {"x": [1.0, 0.0, 0.0, 0.0], "y": [-1.0, 1.0, 0.0, 0.0], "z": [0.0, -1.0, 0.0, 0.0]}
"""Three terms of four answers, whose sum is 0 for each."""


def learnt(reward: RewardSpec, prompts: list[Any], **columns: list[Any]) -> list[float]:
    """What a training learns from."""
    scorer = Scorer(reward)
    return scorer.whiten_totals(scorer.train(prompts, prompts, columns, 0).totals)


def slow_gdpo(prompts: list[str], weights: list[float], *terms: list[float]) -> list[float]:
    """arXiv:2601.05242, equations 4 to 6, answer by answer."""
    totals = []
    for index, prompt in enumerate(prompts):
        group = [place for place, other in enumerate(prompts) if other == prompt]
        total = 0.0
        for weight, term in zip(weights, terms, strict=True):
            members = [term[place] for place in group]
            deviation = statistics.stdev(members)
            distance = term[index] - statistics.fmean(members)
            total += weight * distance / deviation if deviation else 0.0
        totals.append(total)
    mean, deviation = statistics.fmean(totals), statistics.stdev(totals)
    return [(total - mean) / deviation for total in totals]


def test_it_is_the_papers_formula() -> None:
    """Deviations over the batch; a weight before the scale; groups told by their place alone."""
    prompts = ["p", "q", "p", "q", "p", "q", "q", "p"]
    x = [0.0, 3.0, 1.0, 3.0, 1.0, 8.0, 2.0, 0.0]
    y = [100.0, 5.0, 250.0, 5.0, 300.0, 5.0, 5.0, 40.0]
    mix = mix_of("group", a=columns_of(0.5), b=columns_of(2.0, column="y"))
    expected = slow_gdpo(prompts, [0.5, 2.0], x, y)
    assert learnt(mix, prompts, x=x, y=y) == pytest.approx(expected, abs=1e-3)
    # A unit of one term says nothing about its weight.
    larger = [1000 * value for value in y]
    assert learnt(mix, prompts, x=x, y=larger) == pytest.approx(expected, abs=1e-3)


def test_what_a_sum_hides_is_seen() -> None:
    """The paper's example: answers that win (0, 1), and others that win (0, 2), pushed alike; and
    terms whose sum is the same for all answers, from which a sum teaches nothing."""
    terms = {"a": columns_of(), "b": columns_of(column="y"), "c": columns_of(column="z")}
    flat = learnt(mix_of(**terms), ["p"] * 4, **COLLAPSING)
    assert flat == [0.0] * 4
    seen = learnt(mix_of("group", **terms), ["p"] * 4, **COLLAPSING)
    assert seen[0] > 0.5 and seen[1] < -0.5 and seen[2] == pytest.approx(0, abs=1e-6)
    pair = mix_of("group", a=columns_of(), b=columns_of(column="y"))
    one_and_two = learnt(pair, ["p", "p", "q", "q"], x=[0.0, 1.0, 0.0, 1.0], y=[0.0, 0.0, 0.0, 1.0])
    assert one_and_two[3] == pytest.approx(2 * one_and_two[1], rel=1e-3)


def test_answers_that_are_alike_teach_nothing() -> None:
    """A rounding in the last bit that whitening makes an advantage of."""
    mix = mix_of("group", a=columns_of(), b=columns_of(column="y"))
    values = learnt(mix, ["p"] * 3 + ["q"] * 3, x=[0.1] * 6, y=[0.3] * 3 + [0.7] * 3)
    assert values == pytest.approx([0.0] * 6, abs=1e-7)
    assert learnt(mix, ["p"], x=[5.0], y=[1.0]) == [0.0]


def test_a_shut_gate_is_nothing_before_the_scale() -> None:
    """Answers that miss the condition left at their group's mean, above half of those that meet
    it."""
    gated = columns_of(column="y", needs={"a": 1.0})
    mix = mix_of("group", a=columns_of(0.0), b=gated)
    x, y = [0.0, 1.0, 1.0, 0.0], [9.0, 1.0, 2.0, 0.5]
    expected = slow_gdpo(["p"] * 4, [1.0], [0.0, 1.0, 2.0, 0.0])
    assert learnt(mix, ["p"] * 4, x=x, y=y) == pytest.approx(expected, abs=1e-3)


def test_a_missing_value_counts_as_its_groups_mean() -> None:
    """A value of another prompt's answers taken for it; a mean that counts it as 0."""
    mix = mix_of("group", a=columns_of())
    prompts: list[Any] = ["p"] * 3 + ["q"] * 2
    totals = Scorer(mix).train(prompts, prompts, {"x": [1.0, None, 3.0, 7.0, 9.0]}, 0)
    assert totals.totals[1] == 0.0
    assert totals.totals[0] == -totals.totals[2] == pytest.approx(-(0.5**0.5), abs=1e-3)


class Beside(SingleProcess):
    """Another process, whose totals come first."""

    def gather_rows(self, rows: Any) -> Any:
        return [[5.0], [-3.0], *rows], slice(2, 2 + len(rows))


def test_whitening_is_over_all_processes() -> None:
    """Each process's own scale: gradients that are averaged in different units."""
    mix = mix_of("group", a=columns_of())
    scorer = Scorer(mix, gathering=Beside())
    whole = [5.0, -3.0, 1.0, -1.0]
    mean, deviation = statistics.fmean(whole), statistics.stdev(whole)
    expected = [(value - mean) / deviation for value in whole[2:]]
    assert scorer.whiten_totals([1.0, -1.0]) == pytest.approx(expected, abs=1e-3)
    assert Scorer(mix_of(a=columns_of())).whiten_totals([1.0, 2.0]) == [1.0, 2.0]


def test_an_evaluation_takes_z_scores_and_the_log_the_plain_sum() -> None:
    """`eval/reward` and the reward's curve at 0 for ever."""
    mix = mix_of("group", a=columns_of(2.0), b=columns_of(column="y"))
    scorer = Scorer(mix)
    first = scorer.held_out(0).score(["p", "q"], ["c"] * 2, {"x": [0.0, 2.0], "y": [1.0, 1.0]})
    assert first.total == pytest.approx([-2.0, 2.0])
    later = scorer.held_out(5).score(["p", "q"], ["c"] * 2, {"x": [2.0, 4.0], "y": [1.0, 1.0]})
    assert later.total == pytest.approx([2.0, 6.0])
    scored = scorer.train(["p"] * 2, ["c"] * 2, {"x": [0.0, 1.0], "y": [3.0, 5.0]}, 0)
    assert scored.metrics["rollout/weighted_sum"] == 2 * 0.5 + 4
    assert not scorer.moments


def test_all_terms_are_on_that_scale_or_none() -> None:
    """Whitening of a total that a term of another unit rules."""
    mix = mix_of("group", a=columns_of(), b=columns_of(normalize="none"))
    (problem,) = mix.problems()
    assert problem.key == "reward.terms.b.normalize" and f"{problem.key}=group" in problem.remedy
