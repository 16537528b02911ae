"""What an evaluation and its card say of each source of a mix."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from runs import spec_of
from small_evaluation import SPEC

from rlexp.cards.labels import metric_rows
from rlexp.evaluation.by_source import with_source_metrics
from rlexp.evaluation.metrics import (
    applying,
    find_metric,
    in_card_order,
    in_comparison_order,
    metric_and_source,
    source_metric,
)
from rlexp.evaluation.ratios import averages
from rlexp.evaluation.results import Evaluation
from rlexp.spec.eval import EvalSpec

SPEC_OF_TEST = EvalSpec(**SPEC)


def evaluation_of(**ratios: Any) -> Evaluation:
    metrics, intervals = averages(ratios, 200, 0)
    return Evaluation(metrics, intervals, [], [], ratios=ratios)


def test_each_source_has_the_mean_of_its_own_prompts() -> None:
    """A source's mean over all prompts; completions without a reward that count as 0."""
    rewards = ([2.0, 1.0, 0.0, 7.0], [2.0, 2.0, 0.0, 2.0])
    both = with_source_metrics(
        evaluation_of(reward=rewards, kl=rewards), ["a", "b", "a", "b"], [], SPEC_OF_TEST
    )
    of_sources = {name: both.metrics[source_metric("reward", name)] for name in "ab"}
    assert of_sources == {"a": 1.0, "b": 2.0} and both.metrics["reward"] == 10 / 6
    assert "source_kl_a" not in both.metrics
    assert (
        both.intervals["source_reward_b"] == (0.5, 3.5) and "source_reward_a" not in both.intervals
    )


def test_a_perplexity_by_source_is_of_its_texts() -> None:
    """Nats averaged as if they were a reward; texts that are taken for the prompts."""
    nats = ([4.0, 1.0, 6.0], [2.0, 1.0, 3.0])
    both = with_source_metrics(
        evaluation_of(perplexity=nats), ["b", "b"], ["a", "b", "a"], SPEC_OF_TEST
    )
    assert both.metrics["source_perplexity_a"] == pytest.approx(math.exp(2))
    assert both.metrics["source_perplexity_b"] == pytest.approx(math.exp(1))
    of_another_file = with_source_metrics(evaluation_of(perplexity=nats), ["b"], [], SPEC_OF_TEST)
    assert of_another_file.metrics == evaluation_of(perplexity=nats).metrics


def test_a_metric_of_a_source_is_its_metrics_kin() -> None:
    """A source called `reward_x`, whose name is read as another's; better and worse forgotten."""
    name = source_metric("perplexity", "reward_x")
    assert metric_and_source(name) == ("perplexity", "reward_x")
    assert metric_and_source("reward_few") == ("reward_few", "")
    assert (find_metric(name).better, find_metric(name).mean) == ("lower", "perplexity")
    names = ["kl", "source_reward_a", "reward_z", name, "perplexity", "reward"]
    in_order = ["reward", "reward_z", "source_reward_a", "kl", "perplexity", name]
    assert in_card_order(names) == in_order
    assert in_comparison_order(names)[-2:] == ["perplexity", name]


def test_a_card_has_the_rewards_of_sources_among_its_slices_alone() -> None:
    """The same number twice on one card."""
    values = {"accuracy": 0.5, "source_accuracy_a": 0.4, "reward": 1.0, "source_reward_a": 2.0}
    card: Any = SimpleNamespace(before={}, after=values, intervals={}, changes={})
    assert [row.metric for row in metric_rows(card)] == ["reward", "accuracy", "source_accuracy_a"]


def test_a_sweep_may_ask_for_the_metric_of_a_source() -> None:
    """An objective that every trial measures, refused as unknown."""
    source = ("+data@data.sources.films=reviews", "+data.sources.films.weight=1")
    names = applying(spec_of("data=mix", *source))
    assert {"source_reward_films", "source_perplexity_films"} <= {*names}
    assert "source_accuracy_films" not in names and "source_reward_films" not in applying(spec_of())
