"""`algo=sample`: answers that are kept as they come, rated, and trained on by other runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from judge_server import RULE, served
from killed_runs import events_of, kill_when
from runs import SHORT, problems_of, run_of, spec_of

from rlexp.builtin import tiny
from rlexp.models.policy import Policy
from rlexp.runner.parts import RunParts
from rlexp.runner.recorder import Recorder
from rlexp.runner.sampling.answers import AnswerDraft, AnswerSampler, Drawing
from rlexp.scoring import Scorer
from rlexp.spec.policy import Completion

FEW = ("data.size=120", "algo.prompts=10", "algo.completions=4", "eval.batch_size=16")
SAMPLED = ("algo=sample", "algo.max_completion_length=16", *FEW)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of algo=sample."""
    tiny.ensure_tiny_model()
    folder = tmp_path_factory.mktemp("runs") / "sampled"
    run_of(folder, *SAMPLED)
    return folder


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


class CountingPolicy:
    """Answers by prompt and seed, and dies at its last call where it is told to."""

    def __init__(self, calls: int = 99) -> None:
        self.calls, self.seen = calls, []

    def complete(self, prompts: list[str], *, seed: int, completions: int, **rest: Any) -> Any:
        if len(self.seen) == self.calls:
            raise KeyboardInterrupt
        self.seen.append(prompts)
        return [
            [
                Completion(f"{prompt}{seed}{n}\u2028é", [1], [2, n], n > 0)
                for n in range(completions)
            ]
            for prompt in prompts
        ]


class WritingRecorder(Recorder):
    """A recorder that writes files, as the first process's does."""

    def write_file(self, file: Path, write: Any) -> None:
        write(file)


class FewParts:
    """What a sampler asks of a run's parts."""

    def __init__(self, folder: Path) -> None:

        self.spec, self.folder = spec_of("algo=sample", "eval.batch_size=4"), folder
        self.recorder = WritingRecorder()


def sampler(folder: Path, policy: CountingPolicy) -> AnswerSampler:
    parts = cast(RunParts, FewParts(folder))
    return AnswerSampler(parts, cast(Policy, policy), cast(Scorer, None), Drawing(2, 8, 1.0))


@pytest.mark.parametrize("torn", [0, 7])
def test_it_goes_on_behind_the_last_whole_batch(torn: int, tmp_path: Path) -> None:
    """Answers that are sampled twice, with other seeds than if nothing had happened, or that a kill
    in the middle of a line makes unreadable."""
    prompts = list("abcdefg")
    whole = sampler(tmp_path / "whole", CountingPolicy())
    whole.folder.mkdir()
    expected = whole.complete(prompts, "rows")
    with pytest.raises(KeyboardInterrupt):
        sampler(tmp_path, CountingPolicy(calls=2)).complete(prompts, "rows")
    draft = tmp_path / "rows.draft"
    draft.write_bytes(draft.read_bytes()[: -torn or None])
    again = CountingPolicy()
    assert sampler(tmp_path, again).complete(prompts, "rows") == expected
    assert again.seen == [["c", "d"]] * bool(torn) + [["e", "f"], ["g"]]
    assert draft.read_bytes() == (tmp_path / "whole" / "rows.draft").read_bytes()


def test_another_batch_size_begins_at_one_of_its_own_places(tmp_path: Path) -> None:
    """Answers at places that are nobody's after a resume with another `eval.batch_size`."""
    draft = AnswerDraft(tmp_path / "draft")
    draft.append([[Completion(str(n), [], [], True)] for n in range(7)])
    assert [group[0].text for group in draft.read(3)] == [str(n) for n in range(6)]
    assert len(AnswerDraft(tmp_path / "draft").read(4)) == 4


def test_rows_and_card(sampled: Path) -> None:
    """Rows of held-out prompts among those to train on; a card whose numbers are other answers';
    a prompt that lost its text; an evaluation that was never asked for."""
    card = json.loads((sampled / "card.json").read_text(encoding="utf-8"))
    train, heldout = rows_of(sampled / "samples.jsonl"), rows_of(sampled / "heldout.jsonl")
    assert card["status"] == "FINISHED" and card["before"] == {} and card["guards"] == []
    after = card["after"]
    assert after["rows"] == len(train) <= 10 and len(heldout) == 8
    scores = [[one["score"] for one in row["completions"]] for row in train]
    assert all(len(set(values)) > 1 for values in scores)
    assert after["reward_worst"] < after["reward"] < after["reward_best"]
    assert after["margin"] == pytest.approx(after["reward_best"] - after["reward_worst"])
    assert 0 < after["tokens"] <= 10 * 4 * 16 and 0 <= after["ties"] < 1
    assert card["samples"][0]["after"] and card["cost"]["sampling_seconds"] > 0
    assert any("tokens sampled" in note for note in card["notes"])
    assert {row["opening"] for row in train} == {row["prompt"] for row in train}
    assert not list(sampled.glob("*.draft")) and not (sampled / "model").exists()
    names = {name for event in events_of(sampled) for name in event.get("metrics", {})}
    assert "rollout/reward_best" in names and not any(name.startswith("eval/") for name in names)
    made = [event for event in events_of(sampled) if event.get("context") == "made"]
    assert [event["name"] for event in made] == ["samples", "heldout"]


@pytest.mark.parametrize(
    "algo",
    [
        pytest.param("dpo", marks=pytest.mark.long),
        pytest.param("reward", marks=pytest.mark.slow),
        pytest.param("sft", marks=pytest.mark.slow),
        pytest.param("kto", marks=pytest.mark.slow),
    ],
)
def test_other_runs_train_on_them(algo: str, sampled: Path, tmp_path: Path) -> None:
    """Rows that are sampled again, a split that is drawn anew, prompts that the evaluation of the
    next stage leaves out."""
    card = run_of(tmp_path / "run", f"algo={algo}", "data=file", f"data.path={sampled}")
    assert card["status"] == "FINISHED"
    assert not list((tmp_path / "run").glob("*.jsonl.draft"))
    assert not any("sampled from" in note for note in card["notes"])
    if algo != "reward":
        samples = json.loads(
            (tmp_path / "run/evaluations/step-000000.json").read_text(encoding="utf-8")
        )["samples"]
        asked = {row["opening"] for row in rows_of(sampled / "heldout.jsonl")}
        assert {sample["prompt"] for sample in samples} == asked


@pytest.mark.long
def test_a_judge_that_only_compares_labels_pairs(tmp_path: Path) -> None:
    """A judge's preference for a place among the labels; a pair that it cannot tell apart."""
    with served() as server:
        server.rule = lambda question: (
            "Verdict: A" if " the " in question.split("<")[1] else "Verdict: B"
        )
        changes = {"base_url": server.url, "model": "stand-in", "rubric": f"'{RULE}'"}
        reward = [f"reward.{key}={value}" for key, value in changes.items()]
        run_of(
            tmp_path / "run",
            *SAMPLED,
            "algo.completions=2",
            "reward=constitution",
            "scoring.probe=off",
            "eval.prompts=4",
            *reward,
        )
        assert server.asked
    for row in rows_of(tmp_path / "run" / "samples.jsonl"):
        scores = [one["score"] for one in row["completions"]]
        assert sorted(scores) in ([0.0, 1.0], [0.25, 0.75])


@pytest.mark.long
def test_a_killed_run_leaves_the_same_rows(sampled: Path, here: Path) -> None:
    """Answers that are lost or sampled twice where the process was killed while it sampled."""

    from rlexp.commands.resume import run as resume

    options = (*SHORT, *SAMPLED, "hydra.run.dir=killed")
    killed = here / "killed"
    kill_when(killed, lambda event: event.get("file") == "heldout.jsonl", *options)
    assert not (killed / "samples.jsonl").exists()
    assert resume([str(killed)]) == 0
    for name in ("samples.jsonl", "heldout.jsonl"):
        assert (killed / name).read_bytes() == (sampled / name).read_bytes()
    cards = [json.loads((run / "card.json").read_text()) for run in (killed, sampled)]
    assert cards[0]["after"] == cards[1]["after"] and cards[0]["notes"] == cards[1]["notes"]


def test_mistakes_are_found_before_anything_is_loaded() -> None:
    """A threshold that is passed over, or a run without anybody who rates."""
    assert "algo=sample learns from one" in problems_of("algo=sample", "reward=none")["reward"]
    found = problems_of("algo=sample", "algo.keep=bst", "algo.completions=1", "+algo.trl.x=1")
    assert {"algo.keep", "algo.completions", "algo.trl"} <= set(found)
