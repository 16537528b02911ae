"""The table of metrics: an entry is all that a metric needs, and what the table says is so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from recorded_runs import RecordedSource, recorded_run
from rich.console import Console
from runs import spec_of
from small_evaluation import REWARD, ROWS, SPEC
from some_card import COST, GUARDS, IDENTITY, shown
from tiny_policy import TEXTS, TinyPolicy

from rlexp.cards.card import build_card
from rlexp.cards.html import write_card_page
from rlexp.cards.labels import metric_rows
from rlexp.comparison.compare import compare
from rlexp.comparison.gather import gather
from rlexp.comparison.page import write_comparison_page
from rlexp.comparison.run_data import Run
from rlexp.comparison.terminal import print_comparison
from rlexp.evaluation import metrics
from rlexp.evaluation.metrics import (
    METRICS,
    Metric,
    applying,
    find_metric,
    is_probed,
    rollout_metrics,
)
from rlexp.evaluation.policy import evaluate
from rlexp.evaluation.results import Evaluation, Sample
from rlexp.evaluation.sample_rows import sample_row
from rlexp.runtime.paths import CONF
from rlexp.spec.eval import EvalSpec

PAIRS = {"accuracy", "margin", "log_loss", "brier", "calibration_error"}
"""Of a reward model alone."""


def words(sample: Sample) -> float | None:
    """Words of a completion; as an entry's function, a metric of one."""
    return float(len(sample.completion.split())) if sample.completion else None


def evaluated(seed: int = 7) -> Evaluation:
    spec = EvalSpec.model_validate(SPEC | {"seed": seed})
    return evaluate(TinyPolicy(), ROWS, REWARD, TEXTS, spec, trained=False, grammatical=None)


def recorded(evaluation: Evaluation) -> Run:
    """The run that tracks an evaluation, as a comparison reads it."""
    rows = [sample_row(sample) for sample in evaluation.samples]
    curves = {f"eval/{name}": [(0, value)] for name, value in evaluation.metrics.items()}
    return gather(recorded_run(), RecordedSource(rows, curves))


def test_a_metric_is_one_entry_and_one_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of metrics beside the table: a new one is measured and not shown, or not compared."""
    entry = Metric("words", "words of an answer", better="higher", of_sample=words)
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, entry))
    before, after = evaluated(), evaluated(seed=8)
    counts = [value for value in map(words, before.samples) if value is not None]
    assert before.metrics["words"] == pytest.approx(sum(counts) / len(counts))
    assert "words" in before.intervals

    card = build_card(IDENTITY, before, after, COST, notes=[], guards=GUARDS, resamples=50, seed=0)
    (row,) = [row for row in metric_rows(card) if row.metric == "words"]
    assert row.label == "words of an answer" and row.change is not None
    write_card_page(card, tmp_path / "card.html")
    for text in (shown(card), (tmp_path / "card.html").read_text()):
        assert "words of an answer" in text

    comparison = compare([recorded(before), recorded(after)])
    assert "eval/words" in comparison.metrics
    assert "eval/words" in [tested.metric for tested in comparison.tested]
    write_comparison_page(comparison, tmp_path / "two.html")
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        print_comparison(comparison, console)
    for text in (captured.get(), (tmp_path / "two.html").read_text()):
        assert "words" in text


def test_every_metric_of_an_evaluation_has_its_entry() -> None:
    """A name that is measured and misspelt in the table: shown raw, and unknown to sweeps."""
    own = {metric.name for metric in METRICS}
    families = ("reward_", "gold_")
    found = [name for name in evaluated().metrics if not name.startswith(families)]
    assert set(found) <= own
    grammar_and_judges = {"grammatical", "win_rate", "judge_win_rate"}
    of_other_runs = PAIRS | {"rows", "ties", "tokens", "thinking_unfinished"}
    assert own - set(found) == grammar_and_judges | of_other_runs


@pytest.mark.parametrize(
    ("overrides", "there", "left_out"),
    [
        ((), {"reward", "win_rate", "grammatical", "perplexity", "kl"}, {"judge_win_rate"}),
        (("algo=sft", "reward=none", "eval.texts=0"), {"kl"}, {"reward", "win_rate", "perplexity"}),
        (("algo=reward",), PAIRS, {"reward", "kl", "grammatical"}),
    ],
)
def test_a_sweep_is_told_what_its_runs_do_not_measure(
    overrides: tuple[str, ...], there: set[str], left_out: set[str]
) -> None:
    """An objective that no trial will have, found after the first trial's hours."""
    measured = set(applying(spec_of(*overrides)))
    assert there <= measured and not left_out & measured


@pytest.mark.parametrize("preset", sorted((CONF / "sweep").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_search_for_what_is_better(preset: Path) -> None:
    """A sweep that looks for the largest KL, or a table that calls it good."""
    spec = yaml.safe_load(preset.read_text(encoding="utf-8")).get("sweep", {})
    objectives, directions = (
        value if isinstance(value, list) else [value]
        for value in (spec.get("objective", "eval/reward"), spec.get("direction", "maximize"))
    )
    for name, direction in zip(objectives, directions, strict=True):
        better = find_metric(name.removeprefix("eval/")).better
        assert better in ("neither", "higher" if direction == "maximize" else "lower")


def test_what_guards_watch() -> None:
    """A metric that the evidence of reward hacking needs and that no look keeps."""
    assert {"grammatical", "distinct_2", "length", "reference_perplexity"} <= {
        metric.name for metric in METRICS if is_probed(metric.name)
    }
    assert is_probed("gold_length") and not is_probed("reward_length")
    assert rollout_metrics()["length"] == "rollout/length"
