"""Pairs matched from labelled texts: who meets whom, and what the run makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import SHORT, problems_of, run_here

from rlexp.builtin import tiny
from rlexp.data.derived.label_pairs import label_pairs
from rlexp.spec.errors import UserError

GOOD, BAD = 12, 7
ROWS: list[dict[str, Any]] = [
    {"prompt": f"opening {n}", "completion": f" rest {n}", "label": n < GOOD}
    for n in range(GOOD + BAD)
]
MATCHED = ("algo=reward", "reward=none", "algo.labels=data")


def number(text: str) -> int:
    return int(text.split()[-1])


def test_a_pass_goes_through_the_rarer_label_once() -> None:
    """Texts that meet several others in a pass, so that held-out pairs are not independent; a pair
    the wrong way round; half a text."""
    pairs, note = label_pairs(ROWS, 0, None)
    chosen, rejected = ([pair[name] for pair in pairs] for name in ("chosen", "rejected"))
    assert sorted(map(number, rejected)) == list(range(GOOD, GOOD + BAD))
    assert len(set(chosen)) == BAD and all(number(text) < GOOD for text in chosen)
    assert all(text == f"opening {number(text)} rest {number(text)}" for text in chosen + rejected)
    assert all(pair["prompt"] == "" for pair in pairs)
    assert note == "7 pairs matched by label, of 12 texts labelled true, 7 false"


@pytest.mark.parametrize("commoner", [True, False])
def test_each_pass_is_matched_anew_and_each_text_has_its_turn(commoner: bool) -> None:
    """The same few pairs again and again; texts of the commoner label, whichever it is, that are
    never seen."""
    rows = [{**row, "label": row["label"] is commoner} for row in ROWS]
    pairs, _ = label_pairs(rows, 0, 20 * BAD + 3)
    assert len(pairs) == 20 * BAD + 3
    first, second = pairs[:BAD], pairs[BAD : 2 * BAD]
    assert {str(pair) for pair in first} != {str(pair) for pair in second}
    seen = {number(pair[side]) for pair in pairs for side in ("chosen", "rejected")}
    assert seen == set(range(GOOD + BAD))


def test_the_seed_decides() -> None:
    """Pairs that another process, or another run of the same seed, draws differently."""
    assert label_pairs(ROWS, 1, 30) == label_pairs(ROWS, 1, 30)
    assert label_pairs(ROWS, 1, 30) != label_pairs(ROWS, 2, 30)


def test_texts_of_one_source_meet_each_other_alone() -> None:
    """A model that learns which source a text is of; sources of which the smaller has no turn."""
    rows = [{**row, "source": f"s{index % 2}"} for index, row in enumerate(ROWS)]
    of_text = {row["prompt"] + row["completion"]: row["source"] for row in rows}
    pairs, note = label_pairs(rows, 0, 30, by_source=True)
    assert [pair["source"] for pair in pairs] == ["s0", "s1"] * 30
    for pair in pairs:
        assert of_text[pair["chosen"]] == of_text[pair["rejected"]] == pair["source"]
    assert note.startswith("s0: 30 pairs") and "; s1: 30 pairs" in note
    with pytest.raises(UserError, match=r"data\.sources\.s1: "):
        label_pairs(
            [row for row in rows if row["label"] or row["source"] == "s0"], 0, 1, by_source=True
        )


def test_conversations_are_matched_whole() -> None:
    """A question that is lost, so that only answers are compared."""
    asked = [{"role": "user", "content": "?"}]
    rows = [
        {"prompt": asked, "completion": [{"role": "assistant", "content": answer}], "label": good}
        for answer, good in (("yes", True), ("no", False))
    ]
    (pair,), _ = label_pairs(rows, 0, None)
    assert [turn["content"] for turn in pair["prompt"] + pair["chosen"]] == ["?", "yes"]
    assert [turn["content"] for turn in pair["prompt"] + pair["rejected"]] == ["?", "no"]


def test_one_label_alone_is_a_mistake() -> None:
    """An endless search for a text of the other label."""
    with pytest.raises(UserError, match="12 texts labelled true, 0 false"):
        label_pairs(ROWS[:GOOD], 0, None)


@pytest.mark.parametrize(
    "chat",
    [pytest.param(False, id="texts"), pytest.param(True, id="chat", marks=pytest.mark.slow)],
)
def test_a_reward_model_learns_the_datas_labels(chat: bool, tmp_path: Path) -> None:
    """Pairs that TRL's trainer or the evaluation cannot read; a model that is asked to sample."""
    tiny.ensure_tiny_model()
    how = [] if not chat else ["model.chat=true"]
    folder = run_here(tmp_path / "run", *SHORT, *MATCHED, *how)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert {"accuracy", "margin"} <= card["after"].keys() and "reward" not in card["after"]
    assert card["before"]["margin"] != card["after"]["margin"]
    notes = [note for note in card["notes"] if "pairs matched by label" in note]
    assert [note.startswith("held out") for note in notes] == [False, True]
    assert notes[0].startswith("8 pairs")
    assert not (folder / "pairs.jsonl").exists()


def test_labels_are_asked_of_data_that_has_them() -> None:
    """Pairs sampled from the model where the user asked for the data's labels."""
    problems = problems_of(*MATCHED, "data=gsm8k", "reward=length")
    assert "gsm8k, which holds demonstrations" in problems["data"]
    assert "pairs or unpaired" in problems["data"] and "algo.labels=reward" in problems["data"]
