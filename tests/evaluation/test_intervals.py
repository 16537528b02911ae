"""The card's statistics, against slow loops, closed forms and what they promise."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import some_card
from some_card import BETTER, COST, GUARDS, IDENTITY, SOUND, evaluation, shown

from rlexp.cards.card import Card, build_card
from rlexp.cards.html import write_card_page
from rlexp.evaluation.best_of_n.frontier import LESS, MORE, format_frontier, frontier
from rlexp.evaluation.best_of_n.samples import BestOfNSamples, best_of, expected_best, kl_bound
from rlexp.evaluation.bootstrap import bootstrap_change, bootstrap_ratio
from rlexp.evaluation.changes import change, changes, largest_changes
from rlexp.evaluation.results import Pair
from rlexp.evaluation.slices import LENGTH, metric_slices, slice_labels
from rlexp.evaluation.win_rate import pairwise_wins, win_rate_by_reward

PROMPTS = 40


def looked(rewards, kl=0.0, metrics=SOUND):
    """An evaluation of prompts with these completions' rewards."""
    flat = [each for group in rewards for each in group]
    counts = [float(sum(each is not None for each in group)) for group in rewards]
    sums = [sum(each for each in group if each is not None) for group in rewards]
    means = [total / count if count else None for total, count in zip(sums, counts, strict=True)]
    ratios = {
        "reward": (sums, counts),
        "kl_sequence": ([kl * len(group) for group in rewards], [float(len(g)) for g in rewards]),
    }
    return replace(evaluation(metrics, rewards=flat), per_prompt_reward=means, ratios=ratios)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_best_of_n_is_the_mean_over_all_subsets(n):
    """Weights that are shifted by one answer, or of draws with replacement."""
    rewards = [0.3, -1.0, 2.0, 0.3, 5.0, -0.2, 1.0]
    slow = [max(subset) for subset in itertools.combinations(rewards, n)]
    assert expected_best(rewards, n) == pytest.approx(sum(slow) / len(slow), abs=1e-12)


def test_best_of_more_than_was_sampled_is_refused():
    with pytest.raises(ValueError, match="from 1 to 3"):
        expected_best([1.0, 2.0, 3.0], 4)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_bound_is_exact_without_ties_and_a_bound_with_them(n):
    """A forgotten term, a factor, or a bound that is none (Beirami et al. 2024, theorem 1)."""
    quantile = (np.arange(200_000) + 0.5) / 200_000  # the best of n has the density n u^(n-1)
    density = n * quantile ** (n - 1)
    assert kl_bound(n) == pytest.approx(np.mean(density * np.log(density)), abs=1e-4)
    reference = np.array([0.5, 0.3, 0.15, 0.05])  # answers by rising reward
    cumulative = np.concatenate([[0.0], reference.cumsum()]) ** n
    best = np.diff(cumulative)
    assert np.sum(best * np.log(best / reference)) <= kl_bound(n) + 1e-12


def test_best_of_n_leaves_prompts_out_where_something_is_missing():
    """A missing reward that counts as 0, or as one answer fewer."""
    draws = BestOfNSamples([[1.0, 2.0, 3.0], [None, 9.0, 9.0], [3.0, 4.0, 5.0]])
    found = best_of(draws, resamples=50, seed=0)
    assert [each.n for each in found] == [1, 2, 3]
    assert [each.reward for each in found] == pytest.approx([3.0, (8 / 3 + 14 / 3) / 2, 4.0])
    assert best_of(BestOfNSamples([[None, 1.0]]), 50, 0) == []


def test_paired_intervals_cover_the_truth_and_are_narrower():
    """Sides that are resampled apart cover too much; completions instead of prompts too little."""
    random = np.random.default_rng(5)
    covered, widths, apart = 0, [], []
    for trial in range(200):
        hard = random.normal(0, 2, PROMPTS)
        effect = random.normal(0.3, 0.6, PROMPTS)
        old = hard + random.normal(0, 0.3, PROMPTS)
        new = hard + effect + random.normal(0, 0.3, PROMPTS)
        ones = [1.0] * PROMPTS
        sides = old.tolist(), new.tolist()
        low, high = bootstrap_change((sides[0], ones), (sides[1], ones), 300, trial) or (0, 0)
        covered += low <= 0.3 <= high
        widths.append(high - low)
        ends = [bootstrap_ratio(side, ones, 300, trial) or (0, 0) for side in sides]
        apart.append(math.hypot(*(high - low for low, high in ends)))
    assert 0.89 <= covered / 200 <= 0.985
    assert np.mean(widths) < np.mean(apart) / 2


def test_changes_say_which_way_and_when_they_cannot_tell():
    random = np.random.default_rng(0)
    same = random.normal(size=PROMPTS)
    ones = [1.0] * PROMPTS
    up = change("reward", (same.tolist(), ones), ((same + 1).tolist(), ones), 200, 0)
    assert up is not None and up.direction == "rose" and up.difference == pytest.approx(1.0)
    down = change("reward", ((same + 1).tolist(), ones), (same.tolist(), ones), 200, 0)
    assert down is not None and down.direction == "fell"
    noise = change(
        "reward", (same.tolist(), ones), (random.permutation(same).tolist(), ones), 200, 0
    )
    assert noise is not None and noise.direction == "unclear"


def test_a_change_of_perplexity_is_one_of_its_exponentials():
    """A difference of nats that is called one of perplexities."""
    found = change("perplexity", ([2.0, 4.0], [2.0, 2.0]), ([4.0, 6.0], [2.0, 2.0]), 50, 0)
    assert found is not None
    assert found.difference == pytest.approx(math.exp(2.5) - math.exp(1.5))
    assert found.low == pytest.approx(math.exp(2) - math.exp(1))
    assert found.high == pytest.approx(math.exp(3) - math.exp(2))


def test_a_change_is_of_the_prompts_that_both_sides_have():
    """A prompt whose reward is missing on one side would be a difference of prompts."""
    before, after = looked([[1.0], [100.0], [2.0]]), looked([[2.0], [None], [3.0]])
    assert changes(before, after, 50, 0)["reward"].difference == 1.0


def test_wins_are_those_of_a_double_loop():
    random = np.random.default_rng(1)
    for _ in range(20):
        one, other = random.integers(0, 4, 3).tolist(), random.integers(0, 4, 5).tolist()
        slow = [(b > a) + 0.5 * (a == b) for a in one for b in other]
        won, ties = pairwise_wins(one, other) or (math.nan, math.nan)
        assert won == pytest.approx(sum(slow) / 15)
        assert ties == pytest.approx(slow.count(0.5) / 15)
        assert won + (pairwise_wins(other, one) or (0, 0))[0] == pytest.approx(1.0)


def test_a_policy_against_itself_has_half_inside_its_interval():
    random = np.random.default_rng(2)
    inside = 0
    for trial in range(60):
        level = random.normal(0, 2, PROMPTS)
        first, second = (
            (level[:, None] + random.normal(size=(PROMPTS, 4))).tolist() for _ in range(2)
        )
        found = win_rate_by_reward(first, second, 300, trial)
        assert found is not None and found.low is not None and found.high is not None
        inside += found.low <= 0.5 <= found.high
    assert inside >= 52


def test_the_frontier_finds_the_n_that_earns_as_much():
    """A run that is best-of-4 itself, one beyond all that was sampled, and one below."""
    random = np.random.default_rng(3)
    sampled = random.normal(size=(PROMPTS, 16)).tolist()
    start = looked([[0.0]] * PROMPTS)

    def found_of(rewards, kl=1.0):
        found = frontier({0: start, 5: looked(rewards, kl)}, BestOfNSamples(sampled), 200, 0)
        assert found is not None
        return found

    best = found_of([[expected_best(rewards, 4)] for rewards in sampled])
    assert [best.n, best.n_low, best.n_high] == pytest.approx([4.0] * 3)
    assert [point.step for point in best.run] == [0, 5]
    assert best.run[-1].kl == 1.0
    assert "n about 4.0" in format_frontier(best)
    beyond = found_of([[9.0]] * PROMPTS)
    assert beyond.n is MORE and "Better than best-of-16" in format_frontier(beyond)
    below = found_of([[-9.0]] * PROMPTS)
    assert below.n == LESS and "Worse than one sample" in format_frontier(below)


def test_the_frontier_compares_on_the_prompts_that_were_sampled():
    """The run's other prompts may be easier."""
    draws = BestOfNSamples([[0.0, 1.0], [0.0, 1.0]])
    found = frontier({1: looked([[0.5], [0.5], [99.0]])}, draws, 20, 0)
    assert found is not None and found.run[-1].reward == 0.5 and found.prompts == 2


def test_a_run_that_was_not_evaluated_again_has_no_frontier():
    """The start alone would be told as what the run has come to."""
    draws, start = BestOfNSamples([[0.0, 1.0]] * 3), looked([[0.5]] * 3)
    without_kl = replace(start, ratios={"reward": start.ratios["reward"]})
    assert frontier({0: start}, draws, 20, 0) is None
    assert frontier({0: start, 5: without_kl}, draws, 20, 0) is None


def test_thirds_keep_equal_lengths_together():
    labels, order = slice_labels([3] * 50 + [4] * 10 + [9] * 3, unit=" tokens")
    assert order == ["3 tokens"] or order[0] == "up to 3 tokens"
    assert len(set(labels[:50])) == 1
    assert slice_labels([5, 5, 5], unit=" tokens")[1] == ["5 tokens"]


def test_rare_values_of_a_column_stand_together():
    labels, order = slice_labels([f"v{i}" for i in range(30)] + ["often"] * 5 + [None])
    assert labels[30] == "often" and labels[-1] == "nothing"
    assert order[-2:] == ["others", "nothing"] and len(order) == 13


def test_slices_part_all_prompts_and_average_theirs():
    before = looked([[0.0], [1.0], [2.0], [3.0]])
    after = looked([[1.0], [2.0], [2.0], [5.0]])
    columns = {LENGTH: [2, 2, 7, 9], "topic": ["a", "b", "a", "b"]}
    found = metric_slices(before, after, columns, 50, 0)
    topics = {each.value: each for each in found if each.by == "topic"}
    assert (topics["a"].before, topics["a"].after, topics["a"].prompts) == (1.0, 1.5, 2)
    assert topics["b"].change == change("reward", ([1.0, 3.0], [1, 1]), ([2.0, 5.0], [1, 1]), 50, 0)
    assert sum(each.prompts for each in found if each.by == LENGTH) == 4
    assert metric_slices(None, after, columns, 50, 0)[-1].before is None


def test_gains_and_losses_are_the_largest_with_a_typical_completion():
    """Absolute changes in one list, prompts without a change, or whichever completion is first."""
    before = looked([[0.0, 0.0]] * 14 + [[5.0, 5.0]])
    after = looked([[float(i), 3.0 * i] for i in range(14)] + [[0.0, 9.0]])
    gains, losses = largest_changes(before, after)
    assert len(gains) == 10
    assert [pair.reward_after for pair in gains[:2]] == [26.0, 24.0]
    assert [pair.reward_after for pair in losses] == [4.5]
    assert isinstance(gains[0], Pair)
    off_centre = looked([[1.0, 1.0, 7.0]])
    found = largest_changes(looked([[0.0, 0.0, 0.0]]), off_centre)[0][0]
    assert found.after == off_centre.samples[0].completion


def whole_card():
    random = np.random.default_rng(4)
    rewards = random.normal(size=(PROMPTS, 2))
    before = looked(rewards.tolist())
    after = looked((rewards + 0.5).tolist(), kl=1.2, metrics=BETTER)
    draws = BestOfNSamples(random.normal(size=(PROMPTS, 8)).tolist())
    return build_card(
        IDENTITY,
        before,
        after,
        COST,
        notes=[],
        guards=GUARDS,
        control=draws.control(before, 100, 0),
        frontier=frontier({0: before, 30: after}, draws, 100, 0),
        columns={LENGTH: list(range(PROMPTS)), "topic": ["<b>x</b>", None] * (PROMPTS // 2)},
        resamples=100,
        seed=0,
    )


def test_the_card_comes_back_whole_and_is_shown(tmp_path):
    """A part that JSON loses, or that only one of page and terminal shows."""
    made = whole_card()
    made.to_json(tmp_path / "card.json")
    assert Card.from_json(tmp_path / "card.json") == made
    told = json.loads((tmp_path / "card.json").read_text())
    assert set(told["changes"]["reward"]) == {"difference", "low", "high"}
    assert told["frontier"]["best_of"][-1]["n"] == 8
    text = shown(made)
    assert max(map(len, text.splitlines())) <= 80
    write_card_page(made, tmp_path / "card.html")
    page = (tmp_path / "card.html").read_text()
    for wanted in ("rose", "best-of-", "Control: a second sample", "prompt length"):
        assert wanted in text.replace("\n", " ") and wanted in page, wanted
    for wanted in ("gain 2", "reward by"):
        assert wanted in text
    for wanted in ("Largest gains: 10", "reward against KL", "&lt;b&gt;x"):
        assert wanted in page, wanted
    assert "<b>x" not in page and "gain 3" not in text


def test_a_card_of_before_these_parts_is_read(tmp_path):
    """Comparisons and promotions read the cards of older runs."""
    path = tmp_path / "card.json"
    some_card.card().to_json(path)
    told = json.loads(path.read_text())
    for name in ("changes", "ties", "control", "frontier", "slices", "gains", "losses"):
        del told[name]
    path.write_text(json.dumps(told))
    assert Card.from_json(path).changes == {}
