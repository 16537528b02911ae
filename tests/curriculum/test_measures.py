"""What is measured of rows before a training: tokens, and what the policy's own answers earn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runs import spec_of
from tiny_policy import TinyPolicy

from rlexp.runner.curriculum.measures import FILE, PolicyMeasures
from rlexp.runner.recorder import Recorder
from rlexp.scoring.scorer import Scorer
from rlexp.spec.policy import Completion
from rlexp.spec.text import Text

ROWS = [{"prompt": f"w{n}", "answer": f"w{n}"} for n in range(5)]


class Writing(Recorder):
    """Writes the run's files, and forgets all else."""

    def write_file(self, file: Path, write: Callable[[Path], object]) -> None:
        write(file)


class Answering:
    """Repeats each prompt as many times as it has a number, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[Text] = []
        self.initial_folder = folder
        self.thinking = None
        self.tokenizer = TinyPolicy().tokenizer

    def complete(
        self, prompts: Sequence[Text], *, completions: int, **sampling: Any
    ) -> list[list[Completion]]:
        self.asked += prompts
        return [
            [
                Completion(str(prompt) if place < int(str(prompt)[1:]) else "", [2], [3], True)
                for place in range(completions)
            ]
            for prompt in prompts
        ]


def measured(here: Path, name: str, *words: str) -> tuple[list[list[float]], Answering, Recorder]:
    """The rewards of a run's answers, who gave them, and what was told of it."""
    folder, weights = here / name, here / "model"
    folder.mkdir()
    weights.mkdir(exist_ok=True)
    (weights / "config.json").write_text("{}", encoding="utf-8")
    spec = spec_of("curriculum=difficulty", "reward=keyword", "reward.must=[w1,w2,w3]", *words)
    policy, recorder = Answering(weights), Writing()
    parts: Any = SimpleNamespace(spec=spec, folder=folder, recorder=recorder)
    given: Any = policy
    with Scorer(spec.reward) as scorer:
        rewards = PolicyMeasures(parts, given, scorer).sampled_rewards(ROWS, 4, 1.0)
    assert (folder / FILE).is_file() and not list(folder.glob("*.draft"))
    return rewards, policy, recorder


def test_answers_are_rated_and_kept_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewards of one prompt given to another; answers sampled once more for the same question; the
    same answers kept for another reward."""
    monkeypatch.setenv("RLEXP_CACHE", str(tmp_path / "cache"))
    rewards, policy, recorder = measured(tmp_path, "one")
    assert policy.asked == [row["prompt"] for row in ROWS]
    assert [len(values) for values in rewards] == [4] * 5
    high, low = max(rewards[1]), min(rewards[1])
    assert high > low and [values.count(high) for values in rewards] == [0, 1, 2, 3, 0]
    assert any("5 prompts rated by 4 answers each" in note for note in recorder.notes)
    again, silent, told = measured(tmp_path, "two")
    assert again == rewards and silent.asked == [] and told.notes == recorder.notes
    _, other, _ = measured(tmp_path, "three", "reward.match_case=true")
    assert other.asked


def test_lengths_are_of_what_is_said(tmp_path: Path) -> None:
    """A conversation measured by its brackets, or by its turns."""
    policy: Any = Answering(tmp_path)
    parts: Any = SimpleNamespace(spec=None)
    scorer: Any = None
    turns = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3"}]
    assert PolicyMeasures(parts, policy, scorer).lengths(["w1 w2 w3 w4", turns]) == [4, 3]
