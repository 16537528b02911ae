"""What a curriculum is refused for before anything is loaded, and what it makes of a run's rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import composed, problems_of, spec_of

from rlexp.runner.curriculum.building import build_curriculum, check_curriculum_rows
from rlexp.spec.errors import UserError
from rlexp.spec.keys import later_values, with_later_keys
from rlexp.spec.run import RunSpec

PACED = ["curriculum=reward_paced", "curriculum.pace.threshold=0.5"]


@pytest.fixture
def levels(tmp_path: Path) -> str:
    """Questions with a level and an answer."""
    rows = [{"prompt": f"q {n}", "answer": str(n), "level": n % 3} for n in range(30)]
    file = tmp_path / "levels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"data.path={file}"


@pytest.mark.parametrize(
    ("words", "key", "told"),
    [
        (["algo=sft", *PACED], "curriculum.pace.by", "curriculum.pace.by=step"),
        (["curriculum=reward_paced"], "curriculum.pace.threshold", "threshold=0.5"),
        (["curriculum=column"], "curriculum.column", "got nothing"),
        (["algo=sft", "curriculum=difficulty", "reward=none"], "reward", "reward=sentiment"),
        (["algo=sample", "curriculum=length"], "curriculum", "curriculum=none"),
        (["algo=reward", "curriculum=difficulty"], "curriculum", "curriculum=length"),
        (
            ["algo=sft", "curriculum=length", "algo.packing=true", "model.attention=sdpa"],
            "algo.packing",
            "algo.packing=false",
        ),
        (
            ["curriculum=length", "+algo.trl.shuffle_dataset=false"],
            "algo.trl.shuffle_dataset",
            "curriculum=none",
        ),
        (["curriculum=mixture"], "curriculum.weights", "+curriculum.weights.VALUE=1"),
        (["curriculum=length", "curriculum.pace.start=0"], "curriculum.pace.start", "above 0"),
        (["algo.dynamic_sampling=2", "algo.rollout=transformers"], "algo.dynamic_sampling", "fast"),
        (
            ["algo.dynamic_sampling=2", "hardware=ddp", "train.batch_size=24"],
            "algo.dynamic_sampling",
            "train.batch_size=16",
        ),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], key: str, told: str) -> None:
    """A curriculum that does nothing, or something else than it says."""
    found = problems_of(*words)
    assert told in found[key]


def test_a_column_is_one_of_the_datas(levels: str) -> None:
    """A typo that is found when the training begins."""
    words = ["data=file", levels, "reward=math", "curriculum=column"]
    spec = spec_of(*words, "curriculum.column=level")
    assert spec.curriculum.column_read == "level"
    assert (
        "curriculum.column=level"
        in problems_of(*words, "curriculum.column=lvl")["curriculum.column"]
    )


def test_stored_configs_have_no_curriculum() -> None:
    """A run of before that cannot be resumed; one that does something else than it did."""
    config = composed()
    del config["curriculum"]
    spec = RunSpec.parse(config)
    assert not spec.curriculum.draws and spec == spec_of()
    later = later_values({"algo._target_": "rlexp.algos.grpo.Grpo", "seed": "0"})
    assert later["curriculum._target_"] == "rlexp.curriculum.none.NoCurriculum"
    assert (later["curriculum.name"], later["algo.dynamic_sampling"]) == ("none", 0)
    assert with_later_keys({"curriculum": {"name": "length"}})["curriculum"]["name"] == "length"


ROWS = [{"prompt": f"p{n}", "level": n % 3, "of": "ab"[n % 2]} for n in range(30)]


def built(*words: str, rows: list[dict[str, Any]] = ROWS) -> Any:
    """The rows in the order of a curriculum, and that curriculum; nothing is measured."""
    measures: Any = None
    return build_curriculum(spec_of(*words, "train.max_steps=10"), rows, measures)


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of the default run, as if it had the rows' columns."""
    from rlexp.data.reviews import Reviews

    monkeypatch.setattr(Reviews, "extra_columns", lambda self: {"level", "of"})


def test_rows_are_sorted_and_equals_shuffled(anything: None) -> None:
    """Levels out of their order; equals that stay as the file has them, whatever the seed."""
    words = ["curriculum=column", "curriculum.column=level"]
    rows, curriculum, _ = built(*words)
    assert [row["level"] for row in rows] == [0] * 10 + [1] * 10 + [2] * 10
    other, _, _ = built(*words, "seed=1")
    assert rows != other and sorted(map(str, rows)) == sorted(map(str, ROWS))
    assert curriculum.pacer.share(0) == pytest.approx(0.1) and curriculum.pacer.share(5) == 1


def test_a_mixture_weighs_the_values_of_its_column(anything: None) -> None:
    """Shares of a column's values given to other rows; a value without a weight drawn anyway."""
    words = ["curriculum=mixture", "curriculum.column=of", "+curriculum.weights.a=3"]
    rows, curriculum, _ = built(*words, "+curriculum.weights.b=1")
    assert rows == ROWS
    assert {name: next(ROWS[place]["of"] for place in places) for name, places in
            curriculum.sources.items()} == {"a": "a", "b": "b"}  # fmt: skip
    with pytest.raises(UserError, match=r"\+curriculum\.weights\.b=0"):
        built(*words)
    with pytest.raises(UserError, match="Did you mean b"):
        built(*words, "+curriculum.weights.bb=1", "+curriculum.weights.b=1")


def test_rows_are_looked_at_before_anything_is_loaded(anything: None) -> None:
    """A column without numbers, found after the model is loaded."""
    spec = spec_of("curriculum=column", "curriculum.column=of")
    with pytest.raises(UserError, match=r"curriculum\.order"):
        check_curriculum_rows(spec, ROWS)


def test_without_a_curriculum_nothing_is_changed() -> None:
    """Another order of the default run than its stored numbers have."""
    rows, curriculum, notes = built()
    assert rows is ROWS and curriculum is None and notes == []
