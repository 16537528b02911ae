"""The report of a pipeline: what it says of each stage, and of what is not there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from html_tags import Tags
from rich.console import Console
from some_card import card
from staged_runs import GOLD, PROMPTS, FakePipeline, answers, evaluate_against, ranked, rlhf

from rlexp.__main__ import main
from rlexp.pipelines.report.over_optimisation import at_others_peak
from rlexp.pipelines.report.report import PipelineReport, build_pipeline_report
from rlexp.pipelines.report.terminal import print_pipeline_report
from rlexp.pipelines.report.write import write_pipeline_report


@pytest.fixture(scope="module")
def whole_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rlhf(tmp_path_factory.mktemp("pipelines")).folder


@pytest.fixture(scope="module")
def report(whole_pipeline: Path) -> PipelineReport:
    return write_pipeline_report(whole_pipeline)


def shown(report: PipelineReport) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        print_pipeline_report(report, console)
    return captured.get()


def test_stages_stand_on_one_scale(report: PipelineReport) -> None:
    """A gold reward of one stage and the same reward of another that are kept apart; a learned
    reward and VADER on one scale because both are called `reward`."""
    main, learned = report.standings
    assert (main.scale.label, main.scale.trained_on) == ("sentiment", [])
    assert (learned.scale.label, learned.scale.trained_on) == ("learned reward", ["ppo"])
    assert [row.policy for row in main.rows] == ["base (tiny)", "sft", "ppo", "dpo"]
    assert [row.policy for row in learned.rows] == ["sft", "ppo"]
    means = [row.value for row in main.rows]
    assert means == pytest.approx([0.05, 0.4, 0.5, 0.8], abs=0.05)
    assert report.headline.startswith("sentiment: base 0.0")
    assert [part.split()[0] for part in report.headline.split(" → ")[1:]] == ["sft", "dpo"]


def test_each_stage_against_the_one_before_and_the_base(report: PipelineReport) -> None:
    """A stage against the base that is taken for one against the stage before."""
    rows = {row.policy: row for row in report.standings[0].rows}
    ppo = rows["ppo"]
    assert ppo.on_parent is not None and ppo.on_base is not None
    assert (ppo.on_parent.other, ppo.on_base.other) == ("sft", "base (tiny)")
    assert ppo.on_parent.change.difference == pytest.approx(0.1, abs=0.03)
    assert ppo.on_base.change.difference == pytest.approx(0.45, abs=0.03)
    assert ppo.on_base.wins.rate > ppo.on_parent.wins.rate > 0.5
    sft = rows["sft"]
    assert sft.on_parent is not None and sft.on_parent.other == "base (tiny)"
    assert sft.on_base is None and sft.on_parent.change.direction == "rose"
    assert any("sft is better than base (tiny) by sentiment" in text for text in report.findings)


def test_branches_are_compared(report: PipelineReport) -> None:
    """A winner by the means of other prompts; steps that leave out the stem's."""
    (rivalry,) = report.rivalries
    assert (rivalry.policy, rivalry.gain.other) == ("dpo", "ppo")
    assert rivalry.gain.change.direction == "rose" and rivalry.gain.prompts == len(PROMPTS)
    assert rivalry.steps == rivalry.other_steps
    assert any(text.startswith("dpo beats ppo by sentiment: +0.3") for text in report.findings)


def test_over_optimisation_is_seen_and_since_when(report: PipelineReport) -> None:
    """A fall of gold that is called a success, since the reward rose."""
    (curve,) = report.curves
    assert curve.over_optimised and curve.peak == 20
    assert [point.root_kl for point in curve.points] == sorted(
        point.root_kl or 0 for point in curve.points
    )
    warning = next(text for text in report.alarms if "OVER-OPTIMISED ppo" in text)
    assert "since step 20" in warning and "stage.ppo.train.max_steps=20" in warning
    assert "eval/gold_sentiment" in warning
    (agreement,) = report.agreements
    assert agreement.change is not None and agreement.change.direction == "fell"
    assert agreement.before is not None and agreement.before.rate > 0.9
    assert agreement.after is not None and agreement.after.rate < 0.2
    assert any("it FELL" in text for text in report.findings)


def test_the_reward_model_on_held_out_pairs(report: PipelineReport) -> None:
    (model,) = report.reward_models
    assert (model.stage, model.pairs, model.accuracy, model.before) == ("rm", 50, 0.94, 0.54)
    assert model.calibration.overconfidence == pytest.approx(1 / (1 + 2.718281828**-2) - 0.94)
    assert any("rm puts 94%" in text and "54% before" in text for text in report.findings)


def test_distance_forgetting_and_cost(report: PipelineReport) -> None:
    """KL from the reference that is shown as that from the base."""
    sft, ppo, dpo = report.distances
    assert (ppo.reference, ppo.kl, ppo.kl_base) == ("sft", pytest.approx(0.4), pytest.approx(0.7))
    assert sft.kl == sft.kl_base == pytest.approx(0.2) and dpo.kl_base is None
    assert ppo.forgotten_base is not None and ppo.forgotten_base.difference is not None
    assert ppo.forgotten_base.difference > 0
    assert any("Not measured against the base: dpo." in note for note in report.notes)
    assert [cost.stage for cost in report.costs] == ["sft", "rm", "ppo", "dpo", "ppo@base"]
    assert report.costs[0].tokens == round(4120.0 * 21.7)


def test_answers_stand_side_by_side(report: PipelineReport) -> None:
    """Answers of one policy below another's name, or to another prompt."""
    assert len(report.prompts) == 10
    first = report.prompts[0]
    assert first.prompt == PROMPTS[0]
    said = {answer.policy: answer.text for answer in first.answers}
    assert said == {
        "base (tiny)": "was there 0",
        "sft": "was good 0",
        "ppo": "was great at 40 0",
        "dpo": "was fun 0",
    }
    assert first.answers[2].rewards.keys() == {"learned reward", "sentiment"}


def test_all_of_it_is_written(report: PipelineReport, whole_pipeline: Path) -> None:
    """A number that JSON has no word for; a page that a browser mends by guessing; a sentence that
    is on the page alone."""
    content = json.loads((whole_pipeline / "report.json").read_text(encoding="utf-8"))
    assert content["curves"][0]["peak"] == 20 and content["headline"] == report.headline
    page = (whole_pipeline / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert not [attributes for _, attributes in tags.seen if "src" in attributes]
    assert "script" not in {tag for tag, _ in tags.seen}
    text = shown(report)
    flat = " ".join(text.split())
    for sentence in ("OVER-OPTIMISED ppo", "dpo beats ppo", "was great at 40 0"):
        assert sentence in page and sentence in flat
    assert max(map(len, text.splitlines())) <= 100
    assert page.count("<figure") == 1 + 1 + 2 + 1


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """What a model wrote, run by the reader's browser or taken for the terminal's markup."""
    pipeline = FakePipeline(tmp_path)
    evil = "<script>alert(1)</script> [red]x[/red]"
    pipeline.stage(
        "sft", {0: answers(0.0), 9: answers(0.5, text=evil)}, "algo=sft", "reward=sentiment"
    )
    report = write_pipeline_report(pipeline.folder)
    page = (pipeline.folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "[red]x[/red]" in shown(report)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """A report that fails for one stage, or keeps silent on it."""
    pipeline = FakePipeline(tmp_path)
    base, tuned = answers(0.0), answers(0.4)
    pipeline.stage("sft", {0: base, 9: tuned}, "algo=sft", "reward=sentiment")
    others = answers(0.5, prompts=[*PROMPTS[:4], *(f"else {i}" for i in range(36))])
    pipeline.stage("dpo", {0: tuned, 9: others}, "algo=dpo", model__path="sft")
    gone = pipeline.stage("kto", {0: tuned, 9: tuned}, "algo=kto", model__path="sft")
    shutil.rmtree(gone)
    failed = pipeline.stage("ppo", None, "algo=ppo", state="failed", model__path="sft")
    broken = replace(card(after=None), notes=["The run failed: no memory\nleft"])
    broken.to_json(failed / "card.json")
    pipeline.stage("more", None, "algo=ppo", state="waiting", model__path="ppo")
    report = write_pipeline_report(pipeline.folder)
    notes = "\n".join(report.notes)
    assert "ppo failed (no memory)." in notes and "more has not run." in notes
    assert "kto is left out" in notes and str(gone) in notes
    assert "dpo has no answer to 6 of the 10 prompts" in notes
    rows = {row.policy: row for row in report.standings[0].rows}
    assert rows["dpo"].on_parent is not None and rows["dpo"].on_parent.prompts == 4
    page = (pipeline.folder / "report.html").read_text(encoding="utf-8")
    assert page.count("no answer to this prompt") == 6
    assert "FAILED" in shown(report) and "has not run" in page


def test_other_sampling_is_not_compared(tmp_path: Path) -> None:
    """A colder temperature that is taken for a better policy."""
    pipeline = FakePipeline(tmp_path)
    pipeline.stage("sft", {0: answers(0.0), 9: answers(0.4)}, "algo=sft", "reward=sentiment")
    warm = "eval.temperature=0.5"
    pipeline.stage("dpo", {9: answers(0.6)}, "algo=dpo", warm, model__path="sft")
    rows = {row.policy: row for row in build_pipeline_report(pipeline.folder).standings[0].rows}
    assert rows["dpo"].on_parent is None and rows["dpo"].on_base is None


def test_rounds_and_a_single_training_of_as_many_steps(tmp_path: Path) -> None:
    """A tie that is called a victory; a question that is turned round: whether the loop wins."""
    pipeline = FakePipeline(tmp_path, "iterative_dpo")
    base = answers(0.0)
    steps = "train.max_steps=10"
    parent: dict[str, Any] = {}
    before = base
    for turn in (1, 2, 3):
        after = answers(0.2 * turn, text=f"round {turn}")
        name = f"dpo_{turn}"
        pipeline.stage(name, {0: before, 10: after}, "algo=dpo", steps, turn=turn, **parent)
        before, parent = after, {"model__path": name}
    long = answers(0.6, text="in one go")
    pipeline.stage("single", {0: base, 30: long}, "algo=dpo", "train.max_steps=30")
    report = build_pipeline_report(pipeline.folder)
    assert report.headline.startswith("sentiment: base")
    (rivalry,) = report.rivalries
    assert (rivalry.policy, rivalry.gain.other) == ("dpo_3", "single")
    assert (rivalry.steps, rivalry.other_steps) == (30, 30)
    assert any(
        "dpo_3 does not beat single by sentiment, nor the other way" in text
        for text in report.findings
    )
    assert [cost.round for cost in report.costs] == [1, 2, 3, None]


def test_a_gold_reward_that_rises_to_the_end(tmp_path: Path) -> None:
    """An alarm at the highest of five points that differ by luck alone."""
    pipeline = FakePipeline(tmp_path)
    steady = {
        step: answers(step / 40, {"sentiment": 0.4 + min(step, 20) / 100}, text=f"at {step}")
        for step in (0, 10, 20, 30, 40)
    }
    rm = pipeline.stage("rm", {0: ranked(20), 9: ranked(45)}, "algo=reward")
    words = ("algo=grpo", GOLD, "reward=model", f"reward.path={rm}")
    pipeline.stage("grpo", steady, *words, reward__path="rm")
    report = build_pipeline_report(pipeline.folder)
    (curve,) = report.curves
    assert not curve.over_optimised and not report.alarms
    assert any("no over-optimisation is seen" in text for text in report.findings)


def test_a_learned_reward_alone(tmp_path: Path) -> None:
    """A report without the gold reward that would have shown what the learned one hides."""
    pipeline = FakePipeline(tmp_path)
    rm = pipeline.stage("rm", {0: ranked(20), 9: ranked(45)}, "algo=reward")
    words = ("algo=ppo", "reward=model", f"reward.path={rm}")
    pipeline.stage("ppo", {0: answers(0.0), 9: answers(2.0)}, *words, reward__path="rm")
    report = build_pipeline_report(pipeline.folder)
    assert not report.curves and not report.agreements
    assert any("+stage.ppo.reward@eval.gold" in note for note in report.notes)


def test_an_evaluation_against_another_stage_is_not_one_against_the_base(tmp_path: Path) -> None:
    """KL between two stages that is shown as the distance from the base."""
    pipeline = FakePipeline(tmp_path)
    base, tuned, after = answers(0.0), answers(0.4), answers(0.6)
    pipeline.stage("sft", {0: base, 9: tuned}, "algo=sft", "reward=sentiment")
    pipeline.stage("dpo", {0: tuned, 9: after}, "algo=dpo", model__path="sft")
    edit = evaluate_against("x")
    keys: dict[str, Any] = {"algo__model": "dpo", "model__path": "sft"}
    pipeline.stage("dpo@sft", {0: tuned, 9: after}, "reward=sentiment", edit=edit, **keys)
    report = build_pipeline_report(pipeline.folder)
    assert report.distances[1].kl_base is None


def test_the_verb_writes_the_report(
    whole_pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report` that knows sweeps alone."""
    page = tmp_path / "page.html"
    assert main(["report", str(whole_pipeline), "--html", str(page)]) == 0
    output = capsys.readouterr().out
    assert "OVER-OPTIMISED ppo" in output and str(page) in output
    assert "Family tree" in page.read_text(encoding="utf-8")


def test_a_moved_pipeline_is_read(whole_pipeline: Path, tmp_path: Path) -> None:
    """Folders that are looked for where the pipeline once ran."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(whole_pipeline.parents[1], moved)
    record = moved / "pipelines" / whole_pipeline.name / "pipeline.json"
    text = record.read_text(encoding="utf-8")
    record.write_text(text.replace(str(whole_pipeline.parents[2]), "/gone"), encoding="utf-8")
    assert len(build_pipeline_report(record.parent).costs) == 5


def test_a_prompts_fall_begins_where_the_other_half_has_its_peak() -> None:
    """The luckiest of many evaluations, from which every later one seems to fall."""
    even, odd = [1.0, 0.0] * 20, [0.0, 1.0] * 20
    evaluations = {
        step: replace(answers(0.0), ratios={"gold_g": (values, [1.0] * 40)})
        for step, values in ((0, [0.5] * 40), (10, even), (20, odd))
    }
    sums, counts = at_others_peak(evaluations, "gold_g", "gold_g")
    assert sums == [0.0] * 40 and counts == [1.0] * 40
