"""Held-out rows, rows of another kind, and framing."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from data_specs import CONF, data_spec

from rlexp.data.derived.kinds import _DERIVATIONS
from rlexp.data.derived.split import (
    FEWEST_HELD_OUT,
    held_out_note,
    overlap_note,
    prompt_text,
    sample_fraction,
    shuffle_key,
    split,
)
from rlexp.data.load import load_data
from rlexp.data.prompt_templates import frame
from rlexp.spec.data import DERIVABLE, KIND_COLUMNS, DataSpec
from rlexp.spec.errors import UserError

ROWS = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(2000)]


def keys(rows: list[dict[str, Any]]) -> set[str]:
    return {row["prompt"] for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_rows_stay_on_their_side_when_others_come_and_go(seed: int) -> None:
    """Catches: a split that depends on position, number or company of the rows."""
    rng = random.Random(seed)
    sample = rng.sample(ROWS, 500)
    _, all_heldout = split(ROWS, 0.1, "test")
    train, heldout = split(sample, 0.1, "test")
    assert keys(heldout) == keys(sample) & keys(all_heldout)
    assert not keys(train) & keys(heldout)
    assert [row for row in sample if row in heldout] == heldout


def test_the_held_out_share_is_what_was_asked_for() -> None:
    """Catches: a hash that is not uniform. 2000 draws at 0.1: 200 +- 13.4, four deviations."""
    _, heldout = split(ROWS, 0.1, "test")
    assert 146 < len(heldout) < 254
    _, more = split(ROWS, 0.3, "test")
    assert keys(heldout) < keys(more)


def test_what_is_not_content_does_not_move_a_row() -> None:
    """Catches: a test text that becomes a training text when it is cut elsewhere or reward columns
    are added."""
    text = "the whole text stays where it is"
    cut_early = {"prompt": text[:9], "opening": text[:9], "completion": text[9:], "label": True}
    cut_late = {"prompt": text[:14], "opening": text[:14], "completion": text[14:], "label": True}
    assert shuffle_key({**cut_early, "answer": "18"}) == shuffle_key(cut_late)
    assert shuffle_key({**cut_late, "completion": " other"}) != shuffle_key(cut_late)


def test_a_side_without_rows_is_a_mistake() -> None:
    """Catches: an evaluation on nothing."""
    with pytest.raises(UserError, match=r"data\.eval_fraction") as caught:
        split(ROWS[:3], 1e-9, "three.jsonl")
    assert "three.jsonl" in str(caught.value)


def test_fewer_rows_are_a_fair_sample_in_their_order() -> None:
    """Catches: the first rows of a file that is sorted by label."""
    rows = [{**row, "label": index >= 1000} for index, row in enumerate(ROWS)]
    kept, fewer = sample_fraction(rows, 200), sample_fraction(rows, 100)
    places = [rows.index(row) for row in kept]
    assert len(kept) == 200 and places == sorted(places)
    # Binomial(200, 1/2): 100 +- 7.1; four deviations either way.
    assert 71 < sum(row["label"] for row in kept) < 129
    assert len(fewer) == 100 and keys(fewer) < keys(kept)
    assert sample_fraction(rows, None) == sample_fraction(rows, 5000) == rows


def test_the_first_held_out_prompts_are_a_fair_sample(tmp_path: Path) -> None:
    """Catches: an evaluation on the first rows of a test file that is sorted by label."""
    rows = [{**row, "label": index >= 1000, "place": index} for index, row in enumerate(ROWS)]
    splits = loaded(tmp_path, rows, "prompts")
    first = [row["place"] >= 1000 for row in splits.heldout[:60]]
    # Binomial(60, 1/2): 30 +- 3.9; four deviations either way.
    assert 14 < sum(first) < 46


def test_loading_twice_gives_the_same_and_other_rows_another_digest(tmp_path: Path) -> None:
    """Catches: an order or digest that hangs on Python's hash seed, or a digest of file names."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:100]))
    spec = data_spec("file", path=str(path), max_rows=10)
    first, second = load_data(spec, "demonstrations"), load_data(spec, "demonstrations")
    assert first == second and len(first.train) == 10 and len(first.digest) == 32
    path.write_text(path.read_text().replace("answer 7", "answer 77", 1))
    assert load_data(spec, "demonstrations").digest != first.digest


def test_every_derivation_that_is_promised_is_there() -> None:
    """Catches: a kind that the config check lets through and that loading cannot make."""
    promised = {(kind, needs) for needs, kinds in DERIVABLE.items() for kind in kinds}
    assert promised == set(_DERIVATIONS)


PAIRS = [
    {"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}", "level": n}
    for n in range(50)
]
LABELLED = [{"prompt": f"q{n}", "completion": f"text {n}", "label": n % 3 == 0} for n in range(60)]


def loaded(tmp_path: Path, records: list[dict[str, Any]], needs: Any) -> Any:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return load_data(data_spec("file", path=str(path)), needs)


@pytest.mark.parametrize("needs", ["prompts", "demonstrations", "unpaired", "pairs"])
def test_pairs_become_what_is_needed(tmp_path: Path, needs: Any) -> None:
    """Catches: answers left in prompts, a wrong label, or a lost reward column."""
    splits = loaded(tmp_path, PAIRS, needs)
    by_prompt = {row["prompt"]: row for row in PAIRS}
    assert splits.kind == needs
    for row in splits.train:
        pair = by_prompt[row["prompt"]]
        assert set(row) == {*KIND_COLUMNS[splits.kind], "level"}
        assert row["level"] == pair["level"]
        if needs == "unpaired":
            assert row["completion"] == pair["chosen" if row["label"] else "rejected"]
        if needs == "demonstrations":
            assert row["completion"] == pair["chosen"]
    answers = 2 if needs == "unpaired" else 1
    assert len(splits.train) == answers * (50 - len(splits.heldout))
    assert sum("the pairs" in note or "chosen" in note for note in splits.notes) == (
        needs != "pairs"
    )
    assert all(set(row) == {"prompt", "level"} for row in splits.heldout)
    assert splits.texts == [r["prompt"] + by_prompt[r["prompt"]]["chosen"] for r in splits.heldout]


def test_labelled_texts_become_demonstrations_and_prompts(tmp_path: Path) -> None:
    """Catches: imitating texts that are labelled bad, or pairs invented from labels."""
    good = loaded(tmp_path, LABELLED, "demonstrations")
    numbers = [int(row["completion"].split()[1]) for row in good.train]
    assert numbers and all(number % 3 == 0 for number in numbers)
    assert "label" not in good.train[0]
    assert "the texts with the label true" in good.notes[0]
    prompts = loaded(tmp_path, LABELLED, "pairs")
    assert prompts.kind == "prompts" and set(prompts.train[0]) == {"prompt"}


def test_nothing_to_derive_from_is_a_mistake(tmp_path: Path) -> None:
    """Catches: training on no rows, and labels made up for demonstrations."""
    bad = [{**row, "label": False} for row in LABELLED]
    with pytest.raises(UserError, match="some demonstrations"):
        loaded(tmp_path, bad, "demonstrations")
    with pytest.raises(UserError, match="unpaired or pairs"):
        loaded(tmp_path, ROWS[:50], "unpaired")


def framing_spec() -> DataSpec:
    return data_spec("file", text_prompt="{{Q}} {prompt}\nA:", chat_prompt="Answer {prompt}!")


def test_plain_prompts_are_worded_for_texts_and_for_chats() -> None:
    """Catches: str.format on prompts with braces, answers left bare in a chat, a framed opening."""
    row = {"prompt": "f{x} {prompt}", "opening": "f{x}", "completion": " is {y} ", "label": True}
    (text,) = frame([row], framing_spec(), chat=False)
    assert text == {**row, "prompt": "{{Q}} f{x} {prompt}\nA:"}
    (chat,) = frame([row], framing_spec(), chat=True)
    assert chat == {
        "prompt": [{"role": "user", "content": "Answer f{x} {prompt}!"}],
        "opening": "f{x}",
        "completion": [{"role": "assistant", "content": "is {y}"}],
        "label": True,
    }
    assert row["prompt"] == "f{x} {prompt}"


@pytest.mark.parametrize("chat", [True, False])
def test_conversations_stay_as_they_are(chat: bool) -> None:
    """Catches: a template put around messages."""
    turns = [{"role": "user", "content": "Hello"}]
    row = {"prompt": turns, "chosen": [{"role": "assistant", "content": " Hi "}]}
    assert frame([row], framing_spec(), chat=chat) == [row]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("[!_]*.yaml")))
def test_shipped_data_sets_are_valid_and_described(name: str) -> None:
    """Catches: a yaml with a key too many or too few, or without the line that --help shows."""
    spec = data_spec(name)
    assert spec.name == name
    assert (CONF / f"{name}.yaml").read_text().startswith("# ")
    if name not in ("file", "mix"):  # which must be told of what
        assert spec.problems() == [] and spec.kind() in KIND_COLUMNS


def chat(*words: str, first: str = "user") -> list[dict[str, str]]:
    roles = [first, *("assistant" if n % 2 == 0 else "user" for n in range(len(words) - 1))]
    return [{"role": role, "content": content} for role, content in zip(roles, words, strict=True)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who is it?", " Who  is\nit? "),
        ("Who is it?", chat("Who is it?")),
        (chat("Who is it?"), [{"role": "system", "content": "S"}, *chat("Who  is it?")]),
        (chat("Hi", "Hello", "Who?"), chat("Hi ", "Hello", "Who?")),
    ],
)
def test_a_prompt_is_the_same_however_it_is_written(one: Any, other: Any) -> None:
    """Catches: a prompt trained on and evaluated on, because a space or a system turn differs."""
    assert prompt_text({"prompt": one}) == prompt_text({"prompt": other})
    assert prompt_text({"prompt": one}) != prompt_text({"prompt": chat("Who was it?")})


@pytest.mark.parametrize("seed", range(3))
def test_one_prompt_never_stands_on_both_sides(seed: int) -> None:
    """Catches: a split by rows, which leaks each prompt that has several answers."""
    rng = random.Random(seed)
    rows = [
        {"prompt": f"{' ' * (n % 2)}question {rng.randrange(150)}", "completion": f"answer {n}"}
        for n in range(900)
    ]
    train, heldout = split(rows, 0.1, "test")
    sides = [{prompt_text(row) for row in side} for side in (train, heldout)]
    assert not sides[0] & sides[1] and len(train) + len(heldout) == 900
    assert overlap_note(train, heldout) is None
    assert overlap_note([*train, heldout[0]], heldout) is not None


def test_cut_texts_and_bare_prompts_stand_where_they_always_stood() -> None:
    """Catches: the split of the default run, or of a file of prompts, that moves: what was held
    out in a stored run would be trained on when it is run again."""
    texts = [
        {"prompt": f"text {n}", "opening": f"text {n}", "completion": " goes on", "label": True}
        for n in range(300)
    ]
    prompts = [{"prompt": f"question {n}"} for n in range(300)]
    for rows in (texts, prompts):
        _, heldout = split(rows, 0.1, "test")
        assert heldout == [row for row in rows if shuffle_key(row) < 0.1]


@pytest.mark.parametrize(("prompts", "warned"), [(60, True), (2000, False)])
def test_too_few_held_out_prompts_are_told_with_a_share_that_mends_it(
    tmp_path: Path, prompts: int, warned: bool
) -> None:
    """Catches: intervals of one prompt, and a remedy that leaves as few. 60 prompts at 0.1 are 6;
    rows that repeat them make the held-out part no larger."""
    rows = [{"prompt": f"question {n % prompts}", "completion": f"a{n}"} for n in range(2000)]
    notes = [note for note in loaded(tmp_path, rows, "prompts").notes if "held out" in note]
    assert bool(notes) == warned
    for note in notes:
        share = re.search(r"data\.eval_fraction=([\d.]+)", note)
        assert share
        _, heldout = split(rows, float(share[1]), "test")
        assert len({prompt_text(row) for row in heldout}) >= FEWEST_HELD_OUT


def test_few_prompts_in_all_want_more_rows() -> None:
    """Catches: a share proposed that would leave nothing to train on."""
    note = held_out_note(ROWS[:9], ROWS[9:12], split_by_hash=True)
    assert note and note.endswith(": add rows")
    assert held_out_note(ROWS[:9], ROWS[9:40], split_by_hash=True) is None
