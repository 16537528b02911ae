"""Answers that a length limit cuts: told before the training, with a limit that would not."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runs import composed, spec_of

from rlexp.evaluation.results import Evaluation, Sample
from rlexp.guards.monitor import GuardMonitor
from rlexp.guards.training_health import Series
from rlexp.guards.truncation import check_cut_share, cut_at_start, cut_share, limit_for
from rlexp.spec.guards import GuardsSpec


@pytest.fixture(scope="module")
def spec() -> GuardsSpec:
    return GuardsSpec.model_validate(composed()["guards"])


def samples_of(lengths: list[int], limit: int) -> list[Sample]:
    """Answers that would have these lengths, cut at a limit."""
    return [
        Sample("p", "c", 0.0, {}, min(length, limit), length <= limit, None) for length in lengths
    ]


def geometric(mean: float, count: int, start: int = 1) -> list[int]:
    rng = random.Random(0)
    return [start + int(rng.expovariate(1 / mean)) for _ in range(count)]


def test_nearly_all_cut_is_told_with_a_limit_that_is_right(spec: GuardsSpec) -> None:
    """A limit proposed from the cut lengths themselves, which are all the old limit."""
    lengths = geometric(600, 2000)
    finding = cut_at_start(samples_of(lengths, 256), 256, spec)
    assert finding is not None
    assert finding.what.startswith("66% of 2000 answers before training do not end")
    proposed = limit_for(samples_of(lengths, 256))
    assert proposed is not None and f"data.max_completion_length={proposed}," in finding.remedy
    assert 0.92 < sum(length <= proposed for length in lengths) / 2000 < 0.98


def test_where_none_ends_nothing_is_made_up(spec: GuardsSpec) -> None:
    """A division by zero, or a length out of the air."""
    finding = cut_at_start(samples_of([999] * 50, 48), 48, spec)
    assert finding is not None and "=96 or more (none" in finding.remedy
    assert cut_at_start([], 48, spec) is None


def test_a_few_cut_answers_are_no_matter(spec: GuardsSpec) -> None:
    """A warning in every run of the film reviews."""
    assert cut_at_start(samples_of([20] * 81 + [99] * 19, 48), 48, spec) is None
    assert cut_at_start(samples_of([20] * 79 + [99] * 21, 48), 48, spec) is not None


def test_the_training_may_have_another_limit_than_the_evaluation(spec: GuardsSpec) -> None:
    """Answers that ended in the evaluation, and will be cut in the training; or the reverse."""
    lengths = geometric(100, 4000)
    seen = samples_of(lengths, 150)
    assert cut_share(seen, 50) == sum(length > 50 for length in lengths) / 4000
    longer = sum(length > 400 for length in lengths) / 4000
    assert cut_share(seen, 400) == pytest.approx(longer, abs=0.01)
    assert limit_for(samples_of([10] * 95 + [31] * 5, 48)) == 16


@pytest.mark.parametrize(
    ("shares", "fires"),
    [
        ([0.97], True),
        ([0.3], False),
        ([0.3, 0.3, 0.3], True),
        ([0.9] * 5 + [0.1] * 3, False),
        ([], False),
    ],
)
def test_the_trainings_own_answers_count(spec: GuardsSpec, shares: Any, fires: bool) -> None:
    """A whole training of beginnings; one step's noise; what was mended long ago."""
    series = Series()
    for step, share in enumerate(shares, 1):
        series.add(step, {"rollout/cut_share": share})
    finding = check_cut_share(series, spec)
    assert (finding is not None) == fires
    if finding:
        assert "data.max_completion_length" in finding.remedy


def monitor_of(action: str, folder: Path) -> tuple[GuardMonitor, list[str]]:
    """A monitor before a training whose answers nearly all are cut, and what it has said."""
    said: list[str] = []
    ignore: Any = lambda *given, **named: None  # noqa: E731
    tracker: Any = SimpleNamespace(
        told=None, history=[], event=ignore, tag=ignore, samples=ignore, log=ignore
    )
    spec = spec_of(f"guards.truncation={action}", "guards.reward_hacking=off")
    monitor = GuardMonitor(spec, folder, tracker, [], said.append)
    initial = Evaluation({}, {}, [], samples_of([999] * 50, 48))
    next(monitor.begin(ignore, initial))
    monitor.restore(0)
    return monitor, said


def test_it_is_told_before_the_training_and_once(tmp_path: Path) -> None:
    """A warning that the training's begin forgets, so that its first step gives it again."""
    monitor, said = monitor_of("warn", tmp_path)
    (alert,) = monitor.alerts
    assert (alert.guard, alert.step) == ("truncation", 0) and len(said) == 1
    assert alert.title == "truncation before training" and alert.sentence in said[0]
    assert [*monitor.check_step(1, {"loss": 0.0, "completions/clipped_ratio": 0.97})] == []
    assert len(monitor.alerts) == len(said) == 1 and monitor.stopped is None


def test_a_run_that_it_stops_has_a_first_step(tmp_path: Path) -> None:
    """A run without a step, whose card and model say nothing; one that goes on to its end."""
    monitor, said = monitor_of("stop", tmp_path)
    assert monitor.alerts == [] and "data.max_completion_length=96" in said[0]
    assert [*monitor.check_step(1, {"loss": 0.0, "completions/clipped_ratio": 0.97})] == []
    assert monitor.stopped is not None and monitor.last_step == 1
    assert monitor_of("off", tmp_path)[1] == []
