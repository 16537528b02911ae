"""`python -m rlexp compare`, its page, and its answers to mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from html_tags import Tags
from runs import SMALL, rlexp, run_here
from spooled_runs import spooled_run
from stored_runs import StoredRuns

from rlexp.__main__ import main
from rlexp.comparison.compare import compare
from rlexp.comparison.curves import thin_points
from rlexp.comparison.gather import gather
from rlexp.comparison.page import write_comparison_page
from rlexp.tracking.query.folder_source import FolderRecords

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def page(path: Path, *folders: Path) -> str:
    records = FolderRecords()
    runs = [gather(records.read(folder), records) for folder in folders]
    write_comparison_page(compare(runs), path)
    return path.read_text(encoding="utf-8")


class TestPage:
    @pytest.mark.parametrize("runs", [2, 9])
    def test_stands_by_itself(self, tmp_path: Path, runs: int) -> None:
        """A request that leaves the page, elements out of balance, a section that is missing."""
        folders = [
            spooled_run(tmp_path / f"run-{index}", f"algo.beta=0.{index + 1}", quality=index / 5)
            for index in range(runs)
        ]
        text = page(tmp_path / "compare.html", *folders)
        tags = Tags()
        tags.feed(text)
        assert tags.open == []
        assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
        for tag, attributes in tags.seen:
            assert tag not in {"script", "link", "img", "iframe"}
            href = attributes.get("href")
            assert href is None or href.startswith("#")
        for wanted in ("algo.beta", "run-1", "was fine", "higher on", "peak memory"):
            assert wanted in text, wanted
        assert sum(tag == "figure" for tag, _ in tags.seen) == 8  # every metric that has a curve

    def test_nothing_that_a_policy_writes_becomes_markup(self, tmp_path: Path) -> None:
        """A completion, a prompt or a metric's name that runs code when the page is opened."""
        hostile = {"text": ATTACK, "prompts": [ATTACK, "b"], "metrics": {"eval/x": 1.0}}
        folders = [spooled_run(tmp_path / name, **hostile) for name in "ab"]
        tags = Tags()
        tags.feed(page(tmp_path / "compare.html", *folders))
        assert not {tag for tag, _ in tags.seen} & {"script", "img"}

    @pytest.mark.long
    def test_the_same_runs_give_the_same_page(self, tmp_path: Path) -> None:
        """A page that changes by itself."""
        folders = [spooled_run(tmp_path / name) for name in "ab"]
        once = page(tmp_path / "one.html", *folders)
        assert once == page(tmp_path / "two.html", *folders)

    def test_long_curves_are_thinned_without_losing_their_level(self) -> None:
        """A page of a hundred megabytes; every tenth point in place of a mean."""
        points = [(step, float(step % 10)) for step in range(10_000)]
        few = thin_points(points, most=100)
        assert len(few) == 100
        assert {value for _, value in few} == {4.5}
        assert few[0][0] < 100
        assert few[-1][0] > 9_800


@pytest.mark.long
class TestCommand:
    def test_two_real_runs(self, tmp_path: Path) -> None:
        """Runs as they truly are: by folder, without a store, and with a page."""
        for seed in (0, 1):
            run_here(tmp_path / f"seed {seed}", *SMALL, f"seed={seed}")
        done = rlexp("compare", "seed 0", "seed 1", "--html", "c.html", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^seed +0 +1 *$", done.stdout, re.MULTILINE)
        assert "shared held-out prompts" in done.stdout
        assert done.stdout.splitlines()[-1] == "page: c.html"
        assert "rollout/reward" in (tmp_path / "c.html").read_text(encoding="utf-8")

    def test_runs_of_a_store_by_name_and_filter(
        self, tmp_path: Path, stored: StoredRuns, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The newest taken for the first; a run that two words name compared with itself."""
        for name in ("one", "two", "three"):
            spooled_run(tmp_path / name, uri=stored.uri)
            (tmp_path / name).rename(tmp_path / f"moved-{name}")
        store = f"tracking.uri={stored.uri}"
        assert main(["compare", "three", "algo=grpo", store]) == 0
        first, second, third = (line.split() for line in capsys.readouterr().out.splitlines()[1:4])
        assert (first[:2], second[:2], third[:2]) == (["A", "three"], ["B", "one"], ["C", "two"])
        assert list(tmp_path.glob("*.html")) == []
        assert main(["compare", "one", "moved-one", store]) == 2
        assert "only one" in capsys.readouterr().err

    def test_mistakes_are_answered_with_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A traceback, a run overwritten by a page, or one mistake at a time."""
        monkeypatch.chdir(tmp_path)
        for name in "ab":
            spooled_run(tmp_path / name)

        def answer(*arguments: str) -> str:
            assert main(["compare", *arguments]) == 2
            return capsys.readouterr().err

        assert "two runs or more" in answer()
        assert "only a" in answer("a")
        assert "unrecognized arguments: --htm=x" in answer("a", "b", "--htm=x")
        told = answer("--html", "a/spool.jsonl")
        assert "ends with .html" in told
        assert "no run" in told
        assert "mkdir -p x" in answer("a", "b", "--html", "x/c.html")
        told = answer("a", "b", "--metric", "rewrd", "--metric", "train/los")
        assert "Did you mean eval/reward" in told
        assert "train/loss" in told

    def test_a_mistake_imports_nothing_heavy(self, tmp_path: Path) -> None:
        """An answer that takes seconds."""
        code = (
            "import sys; from rlexp.__main__ import main; status = main(['compare']); "
            "assert not {'torch', 'mlflow', 'matplotlib', 'scipy', 'hydra'} & set(sys.modules); "
            "sys.exit(status)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
