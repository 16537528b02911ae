"""The line before a training: when it is taken, what it leaves, and when it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from runs import SHORT, run_here, spec_of

from rlexp.data.load import load_data
from rlexp.probing.before_training import PROBED, held_out_material, probe_before_training
from rlexp.spec.errors import UserError
from rlexp.spec.rows import rows_read

ROWS = [{"prompt": f"What is {i} + 9?", "completion": f"They are {i + 9}"} for i in range(60)]
NEEDLESS = """
calls = []

def contains(prompts, completions, **columns):
    calls.append(len(completions))
    return [float(any(digit in text for digit in "0123456789")) for text in completions]
"""


class Recorder:
    """Keeps in lists what it is told; `earlier` are the events of an earlier attempt."""

    def __init__(self, earlier: list[dict[str, Any]] | None = None) -> None:
        self.notes: list[str] = []
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.earlier = earlier or []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        yield

    def say(self, text: str) -> None:
        self.lines.append(text)

    def earlier_events(self, kind: str) -> list[dict[str, Any]]:
        assert kind == PROBED
        return self.earlier

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append(json.loads(json.dumps({"kind": kind, **fields})))

    def write_file(self, file: Path, write: Callable[[Path], None]) -> None:
        write(file)


@pytest.fixture
def words(here: Path) -> tuple[str, ...]:
    """A hackable reward on sums, as words of a run."""
    (here / "my_needless.py").write_text(NEEDLESS, encoding="utf-8")
    lines = "\n".join(json.dumps(row) for row in ROWS)
    (here / "sums.jsonl").write_text(lines, encoding="utf-8")
    return (
        "data=file",
        f"data.path={here}/sums.jsonl",
        "reward=python",
        "reward.function=my_needless:contains",
    )


def probed(folder: Path, recorder: Recorder, *words: str) -> dict[str, Any]:
    spec = spec_of(*words)
    splits = load_data(spec.data, rows_read(spec.algo, spec.data))
    return probe_before_training(spec, folder, splits, recorder, False, "</s>")


def test_a_hackable_reward_is_told_of_and_watched(words: tuple[str, ...], here: Path) -> None:
    """A line that nobody sees, a card that keeps silent, guards that know nothing."""
    recorder = Recorder()
    watched = probed(here, recorder, *words)
    [line] = recorder.lines
    [note] = recorder.notes
    assert line == f"reward       ! {note.removeprefix('probe of the reward: ')}"
    assert watched["echo of the prompt"]("What is 1 + 9?", "what is 1 + 9?")
    content = json.loads((here / "probe.json").read_text(encoding="utf-8"))
    assert content["prompts"] > 0 and content["warnings"]


def test_a_resumed_run_is_not_probed_again(words: tuple[str, ...], here: Path) -> None:
    """Another line in the card, a judge paid twice, and guards that watch nothing any more."""
    first = Recorder()
    watched = probed(here, first, *words)
    again = Recorder(first.events)
    assert probed(here, again, *words).keys() == watched.keys()
    assert (again.lines, again.events, again.notes) == ([], [], first.notes)


def test_a_refusal_says_what_and_leaves_no_trace(words: tuple[str, ...], here: Path) -> None:
    """A run that is refused once and goes on when resumed, with its reward as it was."""
    recorder = Recorder()
    with pytest.raises(UserError) as refused:
        probed(here, recorder, *words, "scoring.probe=refuse")
    problem = refused.value.problems[0]
    assert problem.key == "reward" and "100% of what the reference answers" in problem.got
    assert "scoring.probe=warn" in problem.remedy
    assert recorder.events == [] and not (here / "probe.json").exists()


@pytest.mark.parametrize("word", ["scoring.probe=off", "algo=sft", "reward=none"])
def test_what_needs_no_probe_has_none(words: tuple[str, ...], here: Path, word: str) -> None:
    """A judge that is paid for a training which does not learn from it."""
    algo = ("algo=sft",) if word == "reward=none" else ()
    kept = words[:2] if word == "reward=none" else words
    recorder = Recorder()
    assert probed(here, recorder, *kept, *algo, word) == {}
    assert recorder.lines == []


def test_prompts_without_references_do(words: tuple[str, ...], here: Path) -> None:
    """Rows without answers: what needs them is left out, and nothing else."""
    lines = "\n".join(json.dumps({"prompt": row["prompt"]}) for row in ROWS)
    (here / "sums.jsonl").write_text(lines, encoding="utf-8")
    recorder = Recorder()
    probed(here, recorder, *words)
    content = json.loads((here / "probe.json").read_text(encoding="utf-8"))
    names = {earned["name"] for earned in content["earnings"]}
    assert "echo of the prompt" in names and "one constant answer" not in names


def test_rows_with_a_good_answer_come_first() -> None:
    """A text labelled false taken for a reference: blame that praise is measured by."""
    spec = spec_of()
    splits = load_data(spec.data, "prompts")
    material = held_out_material(spec, splits, 10_000, False, "</s>")
    assert len(material.prompts) < len(splits.heldout)
    assert all(reference is not None for reference in material.references)
    values = spec.reward(material.prompts, [*material.known_references], **material.columns)
    assert min(value or 0.0 for value in values) > 0


def test_the_default_run_is_told_that_all_is_well(tmp_path: Path) -> None:
    """A warning in the first run that anybody starts; a probe that takes a second of it."""
    recorder = Recorder()
    probed(tmp_path, recorder)
    assert recorder.notes == [] and "reference answers 0.9" in recorder.lines[0]


def test_a_run_is_refused_before_it_trains(words: tuple[str, ...], here: Path) -> None:
    """A key that only the probe's own tests read."""
    with pytest.raises(UserError, match="reference answers"):
        run_here(here / "run", *SHORT, *words, "scoring.probe=refuse")
    assert not (here / "run" / "checkpoints").exists()
