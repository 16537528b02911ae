"""What lm-eval measures of documents becomes metrics, intervals and sums; worse ones are told."""

from types import SimpleNamespace

import pytest
import some_card

from rlexp.evaluation.changes import Change
from rlexp.evaluation.results import BenchmarkScore, Evaluation
from rlexp.evaluation.sample_rows import document_rows
from rlexp.guards.final_checks import benchmark_warnings

scores = pytest.importorskip("rlexp.evaluation.benchmarks.scores")


def lm_eval_function(name):
    """A function that passes for lm-eval's own aggregation, which takes seconds to import."""

    def aggregate(values):
        return sum(values) / len(values)

    aggregate.__name__, aggregate.__module__ = name, "lm_eval.api.metrics"
    return aggregate


MEAN = lm_eval_function("mean")


class Task:
    def __init__(self, name, aggregation):
        self.task_name, self._aggregation = name, aggregation

    def aggregation(self):
        return self._aggregation


class Group:
    def __init__(self, name, tasks, weight_by_size):
        self.name, self._tasks = name, tasks
        config = SimpleNamespace(metric="acc", weight_by_size=weight_by_size)
        self.aggregate_metric_list = [config]

    def get_all_tasks(self):
        return self._tasks

    def get_all_groups(self):
        return []


def samples(values, metric="acc", filter_name="none"):
    """Documents in the order in which several processes leave them: not sorted."""
    documents = [
        {"doc_id": number, "filter": filter_name} | ({} if value is None else {metric: value})
        for number, value in enumerate(values)
    ]
    return documents[::-1]


def results_of(values, metrics, **more):
    return {
        "results": metrics,
        "samples": values,
        "n-shot": dict.fromkeys(metrics, 0),
        "higher_is_better": {name: {"acc": True} for name in metrics},
        **more,
    }


def test_a_mean_has_its_interval_and_its_documents_in_order():
    task = Task("sums", {"acc": MEAN})
    numbers = {"acc,none": 0.5, "acc_stderr,none": "N/A", "alias": "sums", "sample_len": 4}
    results = results_of({"sums": samples([1.0, 0.0, 0.0, 1.0])}, {"sums": numbers})
    collected = scores.collect_scores(results, {"tasks": {"sums": task}}, 200, 0)
    assert collected.metrics == {"benchmark_sums_acc": 0.5}
    assert collected.ratios == {"benchmark_sums_acc": ([1.0, 0.0, 0.0, 1.0], [1.0] * 4)}
    low, high = collected.intervals["benchmark_sums_acc"]
    assert low < 0.5 < high
    assert collected.scores["benchmark_sums_acc"].documents == 4


def test_a_document_without_the_metric_counts_nothing():
    task = Task("sums", {"acc": MEAN})
    results = results_of({"sums": samples([1.0, None, 0.0])}, {"sums": {"acc,none": 0.5}})
    collected = scores.collect_scores(results, {"tasks": {"sums": task}}, 50, 0)
    assert collected.ratios["benchmark_sums_acc"] == ([1.0, 0.0, 0.0], [1.0, 0.0, 1.0])


def test_a_filter_is_part_of_the_name_and_has_its_own_documents():
    task = Task("sums", {"acc": MEAN})
    both = samples([1.0, 1.0], filter_name="strict") + samples([0.0, 1.0], filter_name="loose")
    numbers = {"acc,strict": 1.0, "acc,loose": 0.5}
    collected = scores.collect_scores(
        results_of({"sums": both}, {"sums": numbers}), {"tasks": {"sums": task}}, 50, 0
    )
    assert collected.ratios["benchmark_sums_acc_loose"][0] == [0.0, 1.0]
    assert collected.scores["benchmark_sums_acc_loose"].metric == "acc (loose)"


@pytest.mark.parametrize(("by_size", "wanted"), [(True, 3 / 4), (False, (0.5 + 1.0) / 2)])
def test_a_group_stands_for_its_tasks_and_weighs_them_as_lm_eval_does(by_size, wanted):
    tasks = [Task("one", {"acc": MEAN}), Task("two", {"acc": MEAN})]
    values = {"one": samples([0.0, 1.0]), "two": samples([1.0, 1.0, 1.0, None])}
    if by_size:
        values["two"] = samples([1.0, 1.0])
    numbers = {"one": {"acc,none": 0.5}, "two": {"acc,none": 1.0}, "all": {"acc,none": wanted}}
    loaded = {
        "tasks": {task.task_name: task for task in tasks},
        "groups": {"all": Group("all", tasks, by_size)},
    }
    collected = scores.collect_scores(results_of(values, numbers), loaded, 50, 0)
    assert list(collected.metrics) == ["benchmark_all_acc"]
    sums, counts = collected.ratios["benchmark_all_acc"]
    assert sum(sums) / sum(counts) == pytest.approx(wanted)


def test_a_function_of_all_documents_is_resampled_and_never_taken_for_a_mean():
    def largest(values):
        return max(values)

    task = Task("sums", {"acc": largest})
    results = results_of({"sums": samples([0.1, 0.2, 0.9])}, {"sums": {"acc,none": 0.9}})
    collected = scores.collect_scores(results, {"tasks": {"sums": task}}, 100, 0)
    assert "benchmark_sums_acc" not in collected.ratios
    assert collected.intervals["benchmark_sums_acc"][1] == 0.9


def evaluation(values, better=True):
    score = BenchmarkScore("sums", "acc", len(values), 0, better)
    mean = sum(values) / len(values)
    return Evaluation(
        metrics={"benchmark_sums_acc": mean},
        intervals={},
        per_prompt_reward=[],
        samples=[],
        ratios={"benchmark_sums_acc": (values, [1.0] * len(values))},
        benchmarks={"benchmark_sums_acc": score},
    )


@pytest.mark.parametrize(
    ("change", "better", "told"),
    [
        (Change(-0.3, -0.5, -0.1), True, True),
        (Change(-0.3, -0.6, 0.1), True, False),  # chance
        (Change(0.3, 0.1, 0.5), True, False),  # a gain
        (Change(0.3, 0.1, 0.5), False, True),  # of an error
        (Change(-0.3, -0.5, -0.1), None, False),  # nobody knows which way is good
    ],
)
def test_worse_beyond_chance_is_told(change, better, told):
    before, after = evaluation([1.0] * 4, better), evaluation([1.0, 1.0, 1.0, 0.0], better)
    changed = {"benchmark_sums_acc": change}
    warnings = benchmark_warnings(before, after, changed, some_card.GUARDS)
    assert bool(warnings) == told
    quiet = some_card.GUARDS.model_copy(update={"forgetting": "off"})
    assert not benchmark_warnings(before, after, changed, quiet)


def test_a_fall_stands_on_the_card_with_its_numbers():
    before, after = evaluation([1.0] * 20), evaluation([0.0] * 10 + [1.0] * 10)
    card = some_card.card_of(before, after)
    assert card.changes["benchmark_sums_acc"].direction == "fell"
    assert any("sums acc fell from 1 to 0.5" in warning for warning in card.guards)
    assert "benchmark sums_acc" in some_card.shown(card)


def test_an_evaluation_comes_back_from_its_file(tmp_path):
    before = evaluation([1.0, 0.0])
    before.to_json(tmp_path / "one.json")
    assert Evaluation.from_json(tmp_path / "one.json") == before


def test_the_table_has_a_row_a_document():
    rows = document_rows(evaluation([1.0, 0.0]))
    about = {"task": "sums", "metric": "benchmark_sums_acc"}
    assert rows == [about | {"document": n, "value": v} for n, v in enumerate([1.0, 0.0])]
