"""Rows that a reward cannot score are named by file and line, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import spec_of

from rlexp.data.load import load_data
from rlexp.runner.checks.reward_rows import check_reward_rows
from rlexp.sandbox.choice import strongest
from rlexp.spec.errors import UserError
from rlexp.spec.run import RunSpec

pytestmark = pytest.mark.skipif(strongest() is None, reason="no sandbox works here")


def check(folder: Path, tests: dict[int, str], *words: str) -> RunSpec:
    """Have the rewards of a run look at 20 rows, of which some have tests of their own."""
    rows = [{"prompt": f"Write f, {n}.", "tests": "assert f(2) == 4"} for n in range(1, 21)]
    for line, source in tests.items():
        rows[line - 1]["tests"] = source
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    spec = spec_of("algo=grpo", "data=file", f"data.path={file}", *words)
    check_reward_rows(spec, load_data(spec.data, "prompts"))
    return spec


def test_each_row_is_named_by_its_line(tmp_path: Path) -> None:
    """Only the first of equal mistakes, or all of them at one line."""
    with pytest.raises(UserError) as caught:
        check(tmp_path, {3: "f(2) == 4", 17: "f(2) == 4", 9: "print(1)"}, "reward=code")
    keys = [problem.key for problem in caught.value.problems]
    assert sorted(keys) == sorted(f"{tmp_path}/rows.jsonl:{line}" for line in (3, 9, 17))


def test_rows_that_can_be_scored_pass(tmp_path: Path) -> None:
    """A run that is refused though nothing is wrong; other rewards, which look at nothing."""
    check(tmp_path, {}, "reward=code")
    check(tmp_path, {3: "f(2) == 4"}, "reward=length")


def test_the_answers_tokens_have_their_names_for_themselves(tmp_path: Path) -> None:
    """A column of the data that a reward reads, and that holds something else by then."""
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Write, {n}.", "completion_ids": n} for n in range(20)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    spec = spec_of("algo=grpo", "data=file", f"data.path={file}", "reward=length")
    with pytest.raises(UserError, match="a column completion_ids"):
        check_reward_rows(spec, load_data(spec.data, "prompts"))
