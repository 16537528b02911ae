"""Rated answers that become rows of a file, and that file read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_specs import data_spec, problems_of

from rlexp.data.derived.preference_sampling import ScoredAnswers, score_answers
from rlexp.data.derived.rated_answers import RowFilter
from rlexp.data.load import Splits, load_data
from rlexp.data.prompt_templates import frame
from rlexp.spec.data import Kind
from rlexp.spec.errors import UserError
from rlexp.spec.policy import Completion

ALL = RowFilter("all", None, 0.0)


def rated(prompt: Any, *answers: tuple[str, float], **columns: Any) -> ScoredAnswers:
    texts = [Completion(text, [1], [2], ended=True) for text, _ in answers]
    return ScoredAnswers({"prompt": prompt, **columns}, texts, [score for _, score in answers])


CUT = rated(
    "The plot", (" was dull.", -0.5), (" was fun!", 0.8), (" was.", 0.1), opening="The plot"
)
TIED = rated("It was", (" fun.", 0.5), (" nice.", 0.5), opening="It was")


def left_by_a_run(folder: Path, train: list[Any], heldout: list[Any]) -> Path:
    """What a run of algo=sample leaves, as far as the data look at it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text("algo: {_target_: rlexp.algos.sample.SampleAnswers}")
    for name, rows in (("samples", train), ("heldout", heldout)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, needs: Kind, **changes: Any) -> Splits:
    return load_data(data_spec("file", path=str(folder), **changes), needs)


def test_best_and_worst_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Catches: a space lost between opening and answer, a template put around a prompt that has it
    already, a column for rewards that is left behind, the wrong answer taken for the best."""
    rows, _ = ALL.training_rows([CUT])
    splits = read(left_by_a_run(tmp_path, rows, ALL.heldout_rows([CUT])), "pairs")
    pair = {"chosen": " was fun!", "rejected": " was dull.", "prompt": "The plot"}
    assert splits.train == [{**pair, "opening": "The plot"}]
    assert frame(splits.train, data_spec("file", path="x"), chat=False) == splits.train


def test_a_conversation_stays_one(tmp_path: Path) -> None:
    """Catches: a chat that goes through the template twice, or whose answers are bare strings."""
    asked = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q: 1 + 1?"}]
    rows, _ = ALL.training_rows([rated(asked, ("2", 1.0), ("3", 0.0), answer="2")])
    splits = read(left_by_a_run(tmp_path, rows, rows), "pairs")
    (row,) = frame(splits.train, data_spec("file", path="x"), chat=True)
    assert row["prompt"] == asked and row["answer"] == "2"
    assert row["chosen"] == [{"role": "assistant", "content": "2"}]


@pytest.mark.parametrize(
    ("needs", "answers"),
    [
        ("demonstrations", [{"completion": " was fun!"}]),
        (
            "unpaired",
            [
                {"completion": " was fun!", "label": True},
                {"completion": " was dull.", "label": False},
            ],
        ),
        ("prompts", [{}]),
    ],
)
def test_each_kind_of_training_takes_them(
    needs: Kind, answers: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Catches: rated answers that only trainings on pairs can read."""
    rows, _ = ALL.training_rows([CUT])
    splits = read(left_by_a_run(tmp_path, rows, rows), needs)
    assert splits.train == [
        {"prompt": "The plot", "opening": "The plot", **answer} for answer in answers
    ]


def test_held_out_prompts_stay_whatever_their_answers(tmp_path: Path) -> None:
    """Catches: an evaluation on those prompts alone on which answers differ, which is another one
    for each model; a prompt without a pair among the held-out pairs of a reward model."""
    heldout = ALL.heldout_rows([CUT, TIED, rated("Nothing", opening="Nothing")])
    rows, _ = ALL.training_rows([CUT])
    splits = read(left_by_a_run(tmp_path, rows, heldout), "pairs")
    assert sorted(row["prompt"] for row in splits.heldout) == ["It was", "Nothing", "The plot"]
    assert [row["prompt"] for row in splits.heldout_pairs] == ["The plot"]
    assert len(splits.texts) == 1
    assert sum("make no pair" in note for note in splits.notes) == 1


def test_a_tie_among_rows_to_train_on_is_dropped(tmp_path: Path) -> None:
    """Catches: the leniency with held-out rows applied to those that are learnt from."""
    path = tmp_path / "rated.jsonl"
    lines = [json.dumps(row) for row in ALL.heldout_rows([CUT, TIED])]
    path.write_text("\n".join(lines), encoding="utf-8")
    splits = load_data(data_spec("file", path=str(path), heldout_path=str(path)), "pairs")
    assert [row["prompt"] for row in splits.train] == ["The plot"]


def test_what_is_left_out_is_counted_by_reason() -> None:
    """Catches: a tie or a lone answer among pairs, a threshold on the wrong answer, a margin that
    is asked for and not kept to, prompts that vanish without a word."""
    groups = [
        CUT,
        TIED,
        rated("lone", ("a", 1.0)),
        rated("none"),
        rated("bad", ("a", -3.0), ("b", -1.0)),
        rated("near", ("a", 0.9), ("b", 0.8)),
    ]
    rows, words = RowFilter("all", 0.0, 0.5).training_rows(groups)
    assert [row["prompt"] for row in rows] == ["The plot"]
    assert words == (
        "best reward below 0: 1; equal rewards only: 1; fewer than two answers: 1; "
        "margin below 0.5: 1; no answer with a reward: 1"
    )


def test_the_best_answers_are_demonstrations_ties_among_them(tmp_path: Path) -> None:
    """Catches: a prompt whose answers are all right, which is left out of fine-tuning on the best;
    an answer that earns too little among them."""
    kept = RowFilter("best", 0.5, 0.0)
    rows, words = kept.training_rows([CUT, TIED, rated("bad", ("a", 0.1), opening="bad")])
    assert words == "best reward below 0.5: 1"
    heldout = kept.heldout_rows([CUT, rated("bad", ("a", 0.1), opening="bad"), rated("none")])
    splits = read(left_by_a_run(tmp_path, rows, heldout), "demonstrations")
    assert [row["completion"] for row in splits.train] == [" was fun!", " fun."]
    assert len(splits.heldout) == 2


def test_empty_answers_are_in_no_file(tmp_path: Path) -> None:
    """Catches: a file that its reader refuses since a model once said nothing."""
    rows, words = ALL.training_rows([rated("a", ("  ", 0.1), ("x", 0.2), ("y", 0.3)), CUT])
    assert [len(row["completions"]) for row in rows] == [2, 3] and words == ""
    assert read(left_by_a_run(tmp_path, rows, rows), "pairs").train[0]["rejected"] == "x"


def test_rows_of_mixed_sources_have_the_same_columns(tmp_path: Path) -> None:
    """Catches: a column that the first row lacks, lost for all; a prompt that was not cut from a
    text taken for the rest of one."""
    groups = [rated("Ask", ("a", 0.1), ("b", 0.2), answer="b"), CUT]
    rows, _ = ALL.training_rows(groups)
    first, second = read(left_by_a_run(tmp_path, rows, rows), "pairs").train
    assert "opening" not in first and first["answer"] == "b"
    assert second["opening"] == "The plot" and second["answer"] is None


def test_columns_of_which_some_rows_have_none_reach_the_reward() -> None:
    """Catches: the columns of the first row taken for those of all."""
    seen: list[Any] = []

    def score(prompts: Any, answers: Any, columns: Any) -> list[float]:
        seen.append(columns)
        return [0.0] * len(answers)

    answers = [[Completion("x", [1], [2], True)] * 2] * 2
    score_answers([{"prompt": "a"}, {"prompt": "b", "answer": 7}], answers, score)
    assert [columns["answer"] for columns in seen] == [[None, None, 7, 7]]


class TestARunAsTheData:
    def test_by_its_name(self, here: Path) -> None:
        """Catches: `run:` that knows runs by their folder only, or takes one without rows."""
        rows, _ = ALL.training_rows([CUT])
        for second, name in enumerate(("rows", "none")):
            run = here / "outputs" / "day" / name
            run.mkdir(parents=True)
            (run / "card.json").write_text(json.dumps({"run_id": "f" * 32, "name": "sampled"}))
            if not second:
                left_by_a_run(run, rows, rows)
        assert len(read(Path("run:sampled"), "pairs").train) == 1

    def test_heldout_rows_of_ones_own_come_first(self, tmp_path: Path) -> None:
        """Catches: a file that the user names, and that is not read."""
        rows, _ = ALL.training_rows([CUT])
        run = left_by_a_run(tmp_path / "run", rows, rows)
        other = tmp_path / "mine.jsonl"
        other.write_text(json.dumps({**rows[0], "prompt": "Mine"}), encoding="utf-8")
        splits = read(run, "pairs", heldout_path=str(other))
        assert [row["prompt"] for row in splits.heldout] == ["Mine"]

    def test_one_without_rows_says_how_to_have_them(self, tmp_path: Path) -> None:
        """Catches: half of the rows taken for all; a training's run read as a table."""
        run = left_by_a_run(tmp_path / "run", [], [])
        (run / "samples.jsonl").unlink()
        (problem,) = problems_of(data_spec("file", path=str(run)))
        assert "not written yet" in problem.got and "resume" in problem.remedy
        (run / "config.yaml").write_text("algo: {_target_: rlexp.algos.sft.Sft}")
        (problem,) = problems_of(data_spec("file", path=str(run)))
        assert f"algo=sample model.path={run}" in problem.remedy

    def test_a_name_of_no_run(self, here: Path) -> None:
        """Catches: a typo that is looked for as a file, with another remedy."""
        with pytest.raises(UserError, match="names no finished run here"):
            read(Path("run:nobody"), "pairs")
