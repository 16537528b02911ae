"""From terms to a total: scales, gates, schedules and what is missing, against slow loops."""

from __future__ import annotations

import json
import math
import random
import statistics
import threading
from typing import Any

import pytest
from scored_rewards import Column, Inverse, Waits, columns_of, mix_of, of

from rlexp.scoring import Scorer
from rlexp.scoring.normalisation import Moments
from rlexp.spec.errors import RunFailed
from rlexp.spec.reward import RewardSpec, Scores
from rlexp.spec.scoring import ScoringSpec

NONE = None


def scorer_of(reward: RewardSpec, on_error: Any = "stop", max_missing: float = 1.0) -> Scorer:
    return Scorer(
        reward,
        ScoringSpec(
            on_error=on_error, max_missing=max_missing, workers=0, probe="off", timeout=None
        ),
    )


def trained(scorer: Scorer, step: int = 0, **columns: list[Any]) -> list[float]:
    count = len(next(iter(columns.values())))
    return scorer.train(["p"] * count, ["c"] * count, columns, step).totals


def evaluated(scorer: Scorer, step: int = 0, **columns: list[Any]) -> Scores:
    count = len(next(iter(columns.values())))
    return scorer.held_out(step).score(["p"] * count, ["c"] * count, columns)


def batches(count: int, size: int) -> list[list[float]]:
    rng = random.Random(0)
    return [[rng.gauss(1e4, 3.0) for _ in range(size)] for _ in range(count)]


class TestScales:
    def test_a_zscore_is_that_of_all_values_so_far(self) -> None:
        """Moments of the batch alone, of the batches before alone, or merged with lost digits."""
        scorer, seen = scorer_of(mix_of("zscore", a=columns_of(2.0))), []
        for batch in batches(5, 7):
            seen += batch
            mean, deviation = statistics.fmean(seen), statistics.pstdev(seen)
            expected = [2 * (value - mean) / deviation for value in batch]
            assert trained(scorer, x=batch) == pytest.approx(expected, abs=1e-7)

    def test_moments_do_not_depend_on_how_a_batch_is_ordered(self) -> None:
        """Processes that see a batch in another order, and drift apart bit by bit."""
        (batch,) = batches(1, 50)
        start = Moments.of([1.0, 2.5])
        assert start.updated(batch) == start.updated(sorted(batch))

    def test_a_rank_counts_who_is_below_and_above(self) -> None:
        """Ties broken by their place in the batch; a scale that depends on the values."""
        rng = random.Random(1)
        values = [float(rng.randrange(5)) for _ in range(20)]
        slow = [sum((value > other) - (value < other) for other in values) / 20 for value in values]
        scorer = scorer_of(mix_of("rank", a=columns_of()))
        assert trained(scorer, x=values) == slow
        assert trained(scorer, x=[1000 * value for value in values]) == slow
        assert sum(slow) == pytest.approx(0)

    def test_the_mixs_scale_is_that_of_terms_without_their_own(self) -> None:
        """A term's own choice that loses against the mix's; a `clip` taken before the scale."""
        own = columns_of(column="y", normalize="none", clip=None)
        scorer = scorer_of(mix_of("zscore", (-0.5, 0.5), a=columns_of(), b=own))
        values = [0.0, 10.0, 20.0, 30.0, 1000.0]
        scaled = [
            (value - statistics.fmean(values)) / statistics.pstdev(values) for value in values
        ]
        clipped = [max(-0.5, min(0.5, value)) for value in scaled]
        assert (clipped[0], clipped[3], clipped[4]) == (-0.5, scaled[3], 0.5)
        assert trained(scorer, x=values, y=[7.0] * 5) == pytest.approx([7 + c for c in clipped])

    def test_an_evaluation_keeps_the_scale_of_the_first_one(self) -> None:
        """A policy whose gain is normalised away; moments that evaluations disturb."""
        scorer = scorer_of(mix_of("zscore", a=columns_of(), b=columns_of(normalize="rank")))
        first = evaluated(scorer, x=[0.0, 2.0, 4.0])
        scale = math.sqrt(8 / 3) + 1e-8
        assert first.total == [-2 / scale - 2 / 3, 0.0, 2 / scale + 2 / 3]
        trained(scorer, x=[100.0, 300.0])
        moments = dict(scorer.moments)
        assert evaluated(scorer, x=[4.0, 40.0]).total == [2 / scale + 2 / 3, 38 / scale + 1]
        assert evaluated(scorer, x=[0.0, 2.0, 4.0]) == first
        assert scorer.moments == moments == {"a": Moments(2, 200.0, 20000.0)}
        resumed = scorer_of(mix_of("zscore", a=columns_of(), b=columns_of(normalize="rank")))
        resumed.remember([{"a": value, "b": value} for value in (0.0, 2.0, 4.0)])
        assert evaluated(resumed, x=[40.0]).total == [38 / scale + 1]

    def test_the_state_comes_back_through_json_with_every_bit(self) -> None:
        """A resumed run whose rewards differ in the last digit."""
        mix = mix_of("zscore", a=columns_of())
        whole, killed = scorer_of(mix), scorer_of(mix)
        first, second = batches(2, 9)
        trained(whole, x=first)
        trained(killed, x=first)
        resumed = scorer_of(mix)
        resumed.load_state(json.loads(json.dumps(killed.state())))
        assert trained(resumed, x=second) == trained(whole, x=second)
        assert resumed.moments == whole.moments


class TestWeights:
    @pytest.mark.parametrize(
        ("weight", "expected"),
        [
            (3, [3.0, 3.0, 3.0, 3.0]),
            ([[10, 1], [20, 3]], [1.0, 1.0, 2.0, 3.0]),
            ({"from": 1, "to": 0.5, "steps": 20}, [1.0, 0.75, 0.625, 0.5]),
            ([[0, 0], [15, 1], [20, 4]], [0.0, 2 / 3, 1.0, 4.0]),
        ],
    )
    def test_a_schedule_is_linear_between_its_points(self, weight: Any, expected: Any) -> None:
        """Steps counted from 1; a weight that goes on rising behind the last point."""
        scorer = scorer_of(mix_of(a=columns_of(weight)))
        totals = [trained(scorer, step, x=[1.0])[0] for step in (0, 10, 15, 99)]
        assert totals == pytest.approx(expected)

    def test_an_evaluation_has_the_weights_of_the_end(self) -> None:
        """`eval/reward` that moves because a weight does."""
        scorer = scorer_of(mix_of(a=columns_of([[10, 1], [20, 3]]), b=columns_of(column="y")))
        for step in (0, 15, 40):
            assert evaluated(scorer, step, x=[1.0], y=[0.25]).total == [3.25]


class TestGates:
    def test_a_term_counts_where_the_others_reach_their_values(self) -> None:
        """A gate on the weighted or normalised value; one that is shut at its very threshold."""
        gated = columns_of(10.0, needs={"b": 0.5, "c": -1})
        others = {"b": columns_of(0.0, column="y", normalize="zscore")}
        scorer = scorer_of(mix_of(a=gated, c=columns_of(0.0, column="z"), **others))
        columns: Any = {"x": [1.0] * 4, "y": [0.5, 0.4, 0.9, 3.0], "z": [0.0, 0.0, -2.0, -1.0]}
        assert trained(scorer, **columns) == [10.0, 0.0, 0.0, 10.0]
        assert evaluated(scorer, **columns).total == [10.0, 0.0, 0.0, 10.0]


class TestMissing:
    def test_a_missing_value_is_the_mean_of_those_that_are_there(self) -> None:
        """A completion that is pushed down, to 0, because nobody could judge it."""
        scorer = scorer_of(mix_of(a=columns_of(2.0), b=columns_of(column="y")))
        totals = trained(scorer, x=[4.0, NONE, 1.0, NONE], y=[0.0, 0.0, 1.0, 1.0])
        assert totals == [8.0, 5.0, 3.0, 6.0]
        assert trained(scorer_of(Column(name="one", column="x")), x=[1.0, NONE, 4.0]) == [1, 2.5, 4]

    def test_siblings_speak_for_a_missing_value_first(self) -> None:
        """An answer to a hard prompt that gets the batch's mean, and is praised among its own."""
        scorer = scorer_of(Column(name="one", column="x"))
        prompts: list[Any] = ["easy", "easy", "hard", "hard", "hard", "new"]
        columns = {"x": [9.0, 7.0, 1.0, NONE, 3.0, NONE]}
        assert scorer.train(prompts, ["c"] * 6, columns, 0).totals == [9, 7, 1, 2, 3, 5]

    def test_a_term_that_is_missing_everywhere_is_left_out(self) -> None:
        """NaN for the whole batch because one term had nothing to say."""
        scorer = scorer_of(
            mix_of("zscore", a=columns_of(), b=columns_of(1, column="y", normalize="none"))
        )
        assert trained(scorer, x=[NONE, NONE], y=[1.0, 2.0]) == [1.0, 2.0]
        assert scorer.moments["a"] == Moments()

    def test_a_gate_that_is_not_known_pushes_in_neither_direction(self) -> None:
        """A term that is lost, or paid in full, because its gate could not be asked."""
        gated = columns_of(needs={"b": 1})
        scorer = scorer_of(mix_of(a=gated, b=columns_of(0, column="y")))
        assert trained(scorer, x=[6.0, 6.0, 6.0], y=[1.0, 0.0, NONE]) == [6.0, 0.0, 3.0]
        assert trained(scorer, x=[6.0, NONE], y=[1.0, 0.0]) == [6.0, 0.0]

    def test_an_evaluation_leaves_out_what_is_missing(self) -> None:
        """Numbers that an evaluation made up."""
        scorer = scorer_of(mix_of(a=columns_of(), b=columns_of(0, column="y")))
        scores = evaluated(scorer, x=[1.0, NONE], y=[NONE, 2.0])
        assert scores == Scores([1.0, None], {"a": [1.0, None], "b": [None, 2.0]})

    def test_it_is_logged(self) -> None:
        """A mean that counts missing values as 0; a curve of the weighted value."""
        scorer = scorer_of(mix_of(a=columns_of(5.0), b=columns_of(column="y")))
        columns = {"x": [1.0, NONE, NONE, 2.0], "y": [1.0] * 4}
        metrics = scorer.train(["p"] * 4, ["c"] * 4, columns, 0).metrics
        seconds = {name for name in metrics if name.startswith("perf/")}
        assert {name: metrics[name] for name in metrics.keys() - seconds} == {
            "reward_a": 1.5,
            "reward_a_missing": 0.5,
            "reward_b": 1.0,
        }
        assert seconds == {"perf/reward_seconds", "perf/reward_a_seconds", "perf/reward_b_seconds"}

    def test_too_much_of_it_ends_the_run_with_an_example(self) -> None:
        """A run that learns from half of its rewards and does not say so."""
        scorer = scorer_of(mix_of(a=columns_of()), max_missing=0.5)
        trained(scorer, x=[1.0, NONE])
        with pytest.raises(
            RunFailed, match=r"2 of 3 values of the reward's term a are missing"
        ) as e:
            trained(scorer, 6, x=[NONE, 1.0, NONE])
        assert (
            "at step 7, such as that of sample 0, the completion 'c' of the prompt 'p'"
            in e.value.what
        )
        assert "scoring.max_missing=0.67" in e.value.remedy
        with pytest.raises(RunFailed, match=r"in the evaluation of step 40"):
            evaluated(scorer, 40, x=[NONE])


class TestErrors:
    def test_it_names_the_term_the_sample_and_the_step(self) -> None:
        """A traceback without the text; a text that fills the terminal."""
        scorer = scorer_of(mix_of(a=of("Inverse")))
        with pytest.raises(RunFailed) as caught:
            scorer.train(["p" * 5000, "q"], ["ok", ""], {}, 2)
        assert caught.value.what.startswith(
            "the reward's term a raised ZeroDivisionError: division by zero (scored_rewards.py:"
        )
        assert ", for sample 1, the completion '' of the prompt 'q', at step 3" in caught.value.what
        assert "scoring.on_error=missing" in caught.value.remedy
        with pytest.raises(RunFailed) as caught:
            scorer.train(["p" * 5000], [""], {}, 2)
        assert len(caught.value.what) < 600

    @pytest.mark.parametrize("bad", [math.nan, math.inf, "three"])
    def test_what_is_no_finite_number_is_an_error(self, bad: Any) -> None:
        """NaN that reaches the optimizer."""
        with pytest.raises(RunFailed, match=rf"term a gave {bad!r}, for sample 1"):
            trained(scorer_of(mix_of(a=columns_of())), x=[1.0, bad])
        assert trained(scorer_of(mix_of(a=columns_of()), "missing"), x=[1.0, bad]) == [1.0, 1.0]

    def test_a_forgiven_completion_counts_as_missing(self) -> None:
        """One text that ends a run of days, or that is punished with 0."""
        scorer = scorer_of(Inverse(name="inverse"), "missing", 0.5)
        assert scorer.train(["p"] * 3, ["a", "", "bb"], {}, 0).totals == [1.0, 0.75, 0.5]
        assert scorer.once(["p"] * 2, ["", "bb"], {}).total == [None, 0.5]
        with pytest.raises(RunFailed, match=r"2 of 3 .*sample 1.*: it raised ZeroDivisionError"):
            scorer.train(["p"] * 3, ["?", "", "b"], {}, 0)

    def test_a_total_that_overflows_is_told(self) -> None:
        """Weights that make infinity of finite values."""
        with pytest.raises(RunFailed, match=r"the reward mix is inf, for sample 1.*at step 1"):
            trained(scorer_of(mix_of(a=columns_of(1e300))), x=[1.0, 1e300])

    def test_terms_that_wait_do_so_at_the_same_time(self) -> None:
        """Two judges asked one after the other: each waits for the other to be asked."""
        meeting = threading.Barrier(2)
        waits = {how: of("Waits", meeting=meeting, how=how) for how in ("first", "second")}
        with scorer_of(mix_of(**waits)) as scorer:
            assert scorer.train(["p"], ["c"], {}, 0).totals == [2.0]
        assert Waits.place == "threads"


def test_a_batch_tells_the_mean_reward_of_each_source() -> None:
    """A source that is not in the batch, logged as 0; a user's own column taken for sources."""
    columns = {"x": [1.0, 2.0, 4.0], "source": ["a", "b", "b"]}
    scorer = Scorer(Column(name="one", column="x"), sources=["a", "b", "c"])
    metrics = scorer.train(["p"] * 3, ["q"] * 3, columns, 0).metrics
    by_source = {name: value for name, value in metrics.items() if "source" in name}
    assert by_source == {"rollout/source_reward_a": 1.0, "rollout/source_reward_b": 3.0}
    alone = Scorer(Column(name="one", column="x")).train(["p"] * 3, ["q"] * 3, columns, 0)
    assert not any("source" in name for name in alone.metrics) and alone.totals == columns["x"]
