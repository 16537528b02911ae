"""Runs are told apart by what they were asked, what came of it, and on the same prompts."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_runs import RecordedSource, recorded_run
from rich.console import Console
from spooled_runs import PROMPTS, STEPS, spooled_run
from stored_runs import StoredRuns

from rlexp.comparison.compare import Comparison, compare
from rlexp.comparison.configs import config_differences
from rlexp.comparison.gather import RunSource, gather
from rlexp.comparison.remarks import same_scale
from rlexp.comparison.run_data import Run
from rlexp.comparison.terminal import print_comparison
from rlexp.comparison.wording import comparison_headline
from rlexp.tracking.query.folder_source import FolderRecords, run_folders
from rlexp.tracking.query.records import Records


def read(folder: Path, status: str | None = None) -> Run:
    records = FolderRecords()
    source: RunSource = records
    return gather(records.read(folder), source, status)


def compared(*folders: Path, metrics: tuple[str, ...] = ()) -> Comparison:
    return compare([read(folder) for folder in folders], metrics)


def shown(comparison: Comparison, width: int = 100) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        print_comparison(comparison, console)
    return captured.get()


class TestGather:
    def test_a_folder_and_a_store_tell_the_same(self, tmp_path: Path, stored: StoredRuns) -> None:
        """What a run says depends on where it is read: a column, a type or a file is lost."""
        folder = spooled_run(tmp_path / "run", uri=stored.uri, metrics={"eval/nan": float("nan")})
        here = read(folder)
        shutil.rmtree(folder)
        with Records.open(stored.uri) as records:
            (record,) = records.all()
            there = gather(record, records)
        assert repr(there) == repr(here)  # NaN is not equal to itself
        assert there.whole_config
        assert there.cost["total_seconds"] == 75.0
        assert len(there.samples) == len(PROMPTS)
        assert there.final["eval/kl"].low == pytest.approx(0.04)

    def test_a_prompt_that_the_data_repeat_stays_two(self, tmp_path: Path) -> None:
        """Equal prompts melted into one: their difference counts once, and the mean is another."""
        prompts = ["a", "a", "b", "c", "a"]
        run = read(spooled_run(tmp_path / "run", prompts=prompts, completions=3))
        assert list(run.samples) == [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("a", 2)]
        assert all(len(samples) == 3 for samples in run.samples.values())
        means = run.measured["eval/reward"].values()
        assert sum(means) / 5 == pytest.approx(run.final["eval/reward"].value)

    def test_equal_prompts_side_by_side_are_two(self) -> None:
        """Neighbours with one text taken for one prompt with twice the completions."""
        rows = [
            {"prompt_id": prompt_id, "prompt": text, "completion": "", "reward": float(prompt_id)}
            for prompt_id, text in enumerate(["a", "a", "a", "b"])
            for _ in range(2)
        ]
        run = gather(recorded_run(), RecordedSource(rows, {"eval/reward": [(0, 1.5)]}))
        keys = [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
        assert run.measured == {"eval/reward": dict(zip(keys, (0.0, 1.0, 2.0, 3.0), strict=True))}

    @pytest.mark.parametrize("old", [False, True])
    def test_a_reward_model_is_measured_by_its_pairs(self, old: bool) -> None:
        """Scores set against each other although each is on its own model's scale; a table of an
        older run, whose answers are named in the prompts' texts, that pairs with no other."""
        rows = []
        for index, scores in enumerate([(2.0, 1.0), (0.0, 3.0), (1.0, 1.0)]):
            for which, score in zip(("chosen", "rejected"), scores, strict=True):
                row = {"prompt": f"q{index}", "completion": which, "reward": score}
                mark = {"prompt": f"q{index} ({which})"}
                rows.append(row | (mark if old else {"prompt_id": index, "answer": which}))
        run = gather(recorded_run(), RecordedSource(rows, {"eval/accuracy": [(0, 0.5)]}))
        keys = [("q0", 0), ("q1", 0), ("q2", 0)]
        assert run.measured["eval/accuracy"] == dict(zip(keys, (1.0, 0.0, 0.5), strict=True))
        assert run.measured["eval/margin"] == dict(zip(keys, (1.0, -3.0, 0.0), strict=True))
        assert run.final["eval/accuracy"].low is not None

    def test_without_its_config_a_run_has_its_tracked_keys(self) -> None:
        """Numbers as texts, which differ from the same numbers of a run whose config was kept."""
        run = gather(recorded_run(), RecordedSource([], {}))
        assert run.config == {"algo.name": "toy", "algo.beta": 0.1, "seed": 7}
        assert not run.whole_config
        whole = {"algo": {"name": "toy", "beta": 0.1, "loss": "a"}, "seed": 8}
        (row,) = config_differences([run.config, whole], [False, True])
        assert (row.key, row.values) == ("seed", ["7", "8"])

    def test_intervals_of_a_run_without_a_card_are_made_from_its_samples(
        self, tmp_path: Path
    ) -> None:
        """A run that was killed compared without intervals, or with those of no evaluation."""
        run = read(spooled_run(tmp_path / "run", status="KILLED", card=False))
        value = run.final["eval/reward"]
        assert value.low is not None
        assert value.high is not None
        assert value.low < value.value < value.high
        assert run.final["eval/kl"].low is None
        assert run.cost.keys() == {"total_seconds"}


class TestConfigs:
    def test_keys_are_spelled_as_one_types_them(self, tmp_path: Path) -> None:
        """A `_target_` or an interpolated name among the keys; `algo.name=` instead of `algo=`."""
        first = spooled_run(tmp_path / "a")
        other = spooled_run(tmp_path / "b", "algo=dpo", "seed=3", "algo.beta=0.3")
        rows = {row.key: row.values for row in compared(first, other).config}
        assert rows["algo"] == ["grpo", "dpo"]
        assert rows["seed"] == ["0", "3"]
        assert rows["algo.loss_type"] == ["dapo", "[sigmoid]"]
        assert rows["algo.num_generations"] == ["8", None]
        assert not {key for key in rows if "_target_" in key or key == "name"}

    def test_only_what_differs_is_told(self, tmp_path: Path) -> None:
        """A wall of keys in which the one that matters is lost."""
        comparison = compared(
            spooled_run(tmp_path / "a"), spooled_run(tmp_path / "b", "algo.beta=0.3")
        )
        assert [(row.key, row.values) for row in comparison.config] == [
            ("algo.beta", ["0.05", "0.3"])
        ]
        assert "Nothing: the configs" in shown(compared(tmp_path / "a", tmp_path / "a"))

    def test_another_class_under_the_same_name_is_told(self) -> None:
        """A target that is hidden although nothing else shows the difference."""
        configs = [{"reward": {"_target_": target, "name": "mine"}} for target in ("x.A", "x.B")]
        assert [row.key for row in config_differences(configs, [True, True])] == ["reward._target_"]


class TestJudgement:
    def test_the_better_run_is_better(self, tmp_path: Path) -> None:
        """The sign, the winner, the prompts in the wrong order, or the test of another metric."""
        first = spooled_run(tmp_path / "a", quality=0.2)
        other = spooled_run(tmp_path / "b", quality=0.6)
        comparison = compared(first, other)
        assert comparison.remarks == []
        tested = comparison.tested[0]
        assert tested.metric == "eval/reward"
        assert tested.results[0] is None
        result = tested.results[1]
        assert result
        assert result.difference == pytest.approx(0.4, abs=0.02)
        assert result.prompts == len(PROMPTS)
        assert result.higher == 1.0
        assert result.significant
        assert (
            comparison_headline(comparison)
            == f"reward higher by {result.difference:.3f} in B than in A"
        )
        spreads = [prompt.spread for prompt in comparison.prompts]
        assert spreads == sorted(spreads, reverse=True)
        assert {side.letter for side in comparison.prompts[0].sides} == {"A", "B"}

    def test_equal_runs_are_not_told_apart(self, tmp_path: Path) -> None:
        """A winner among equals."""
        folders = [spooled_run(tmp_path / name) for name in "ab"]
        comparison = compared(*folders)
        assert comparison_headline(comparison) == "reward against A: no clear difference in B"
        assert "*" not in shown(comparison).partition("What came of it")[2].partition("Against")[0]

    def test_other_prompts_are_not_paired(self, tmp_path: Path) -> None:
        """Prompts paired by their place in the table."""
        first = spooled_run(tmp_path / "a")
        half = spooled_run(tmp_path / "b", prompts=[*PROMPTS[12:], "new one", "new two"])
        none = spooled_run(tmp_path / "c", prompts=["other", "prompts"])
        comparison = compared(first, half, none)
        results = comparison.tested[0].results
        assert results[1]
        assert results[1].prompts == 12
        assert results[2] is None
        assert "B shares 12 of its 14 held-out prompts with A (A has 24)" in comparison.remarks[0]
        assert "C shares 0 of its 2" in comparison.remarks[1]
        assert compared(first, none).tested == []
        assert "there is no test" in shown(compared(first, none)).replace("\n", " ")

    def test_different_rewards_are_no_scale(self, tmp_path: Path) -> None:
        """A length in [0, 1] said to be worse than a sentiment; nothing said of what both have."""
        first = spooled_run(tmp_path / "a")
        other = spooled_run(tmp_path / "b", "reward=length", quality=0.9)
        comparison = compared(first, other)
        assert "another reward than A's" in comparison.remarks[0]
        metrics = [tested.metric for tested in comparison.tested]
        assert "eval/reward" not in metrics
        assert {"eval/grammatical", "eval/length"} <= set(metrics)
        assert "eval/kl" in comparison.metrics

    def test_a_term_of_two_mixes_is_one_scale(self, tmp_path: Path) -> None:
        """The same term not compared because of its weight; another term compared for its name."""
        run = read(spooled_run(tmp_path / "a"))
        term = {"name": "sentiment", "weight": 1.0}
        mixes = [
            replace(run, config={"reward": {"name": "mix", "terms": terms}})
            for terms in (
                {"good": term, "short": {"target": 5}},
                {"good": term | {"weight": 2.0}},
                {"good": term | {"name": "other"}},
            )
        ]
        assert same_scale("eval/reward_good", mixes[0], mixes[1])
        assert not same_scale("eval/reward_good", mixes[0], mixes[2])
        assert not same_scale("eval/reward_short", mixes[0], mixes[1])
        assert not same_scale("eval/reward", mixes[0], mixes[1])
        assert same_scale("eval/length", mixes[0], mixes[2])

    def test_a_reward_whose_code_was_changed_is_another_one(self, tmp_path: Path) -> None:
        """Two versions of `my_reward:score` compared as one: their configs are the same."""
        run = read(spooled_run(tmp_path / "a"))
        own = {"reward": {"name": "python", "function": "my_reward:score"}}
        first, other = (
            replace(run, config=own, sources={"my_reward.py": digest}) for digest in ("one", "two")
        )
        assert same_scale("eval/reward", first, first)
        assert not same_scale("eval/reward", first, other)
        assert same_scale("eval/grammatical", first, other)
        built_in = [replace(each, config=run.config) for each in (first, other)]
        assert same_scale("eval/reward", *built_in)

    def test_what_moves_numbers_by_itself_is_said(self, tmp_path: Path) -> None:
        """Samples of another temperature, or another model's tokens, compared without a word."""
        first = spooled_run(tmp_path / "a")
        other = spooled_run(
            tmp_path / "b", "eval.temperature=0.5", "model=gpt2", "train.batch_size=8"
        )
        told = " ".join(compared(first, other).remarks)
        assert "(eval.temperature)" in told
        assert "another model" in told
        assert "another batch size" in told


class TestRunsThatDidNotFinish:
    def test_they_are_compared_as_far_as_they_came(self, tmp_path: Path) -> None:
        """A crash over a missing card, or an early number that passes for a final one."""
        whole = spooled_run(tmp_path / "a")
        failed = spooled_run(tmp_path / "b", steps=(0, 10), status="FAILED", card=False)
        begun = spooled_run(tmp_path / "c", steps=(0,), status="KILLED", card=False)
        comparison = compared(whole, failed, begun)
        told = "\n".join(comparison.remarks)
        assert f"B failed: it is compared as far as it came, 10 of {STEPS} steps." in told
        assert f"B was evaluated at step 10 of {STEPS} for the last time." in told
        assert "C was killed" in told
        assert comparison.tested[0].results[1]
        assert shown(comparison)

    def test_a_run_without_an_evaluation_is_no_trouble(self, tmp_path: Path) -> None:
        """A run that failed while loading its model, in a sweep that is compared."""
        whole = spooled_run(tmp_path / "a")
        empty = tmp_path / "b"
        spooled_run(empty, status="FAILED", card=False)
        spool = (empty / "spool.jsonl").read_text().splitlines(keepends=True)
        (empty / "spool.jsonl").write_text(spool[0])
        comparison = compare([read(whole), read(empty, "DEAD")])
        assert any("B was never evaluated" in remark for remark in comparison.remarks)
        assert any("no process does" in remark for remark in comparison.remarks)
        assert "–" in shown(comparison)
        assert shown(compare([read(empty, "DEAD"), read(whole)]))


class TestTerminal:
    @pytest.mark.parametrize("runs", [2, 4, 7])
    def test_fits_its_width_and_is_plain(self, tmp_path: Path, runs: int) -> None:
        """Columns that break numbers apart, colours in a file, a table that grows with the runs."""
        folders = [
            spooled_run(tmp_path / f"a run with quite a long name {index}", quality=index / 10)
            for index in range(runs)
        ]
        text = shown(compared(*folders))
        assert max(map(len, text.splitlines())) <= 100
        assert "\x1b" not in text
        values = re.findall(r"-?\d\.\d{3} \[-?\d\.\d{3},\s-?\d\.\d{3}\]", text)
        assert len(values) >= runs
        assert re.search(r"rollout/reward +A +\S", text)

    def test_asked_for_metrics_take_the_place_of_all(self, tmp_path: Path) -> None:
        """A metric that is asked for and not shown."""
        folders = [spooled_run(tmp_path / name) for name in "ab"]
        comparison = compared(*folders, metrics=("train/loss", "eval/length"))
        assert comparison.metrics == ["train/loss", "eval/length"]
        assert [tested.metric for tested in comparison.tested] == ["eval/length"]
        text = shown(comparison)
        assert re.search(r"^train/loss +0\.0333 +0\.0333", text, re.MULTILINE)


def test_runs_of_a_sweep_go_by_number(tmp_path: Path) -> None:
    """Trial 10 before trial 2."""
    for trial in range(11):
        (tmp_path / str(trial)).mkdir()
        (tmp_path / str(trial) / "spool.jsonl").touch()
        (tmp_path / str(trial) / "config.yaml").touch()
    (tmp_path / "spool.jsonl").touch()  # of the sweep itself, which is no run
    assert [folder.name for folder in run_folders(tmp_path)] == [str(i) for i in range(11)]
    assert run_folders(tmp_path / "3") == [tmp_path / "3"]
    assert run_folders(tmp_path / "missing") == []
