"""What each curriculum makes of rows: which come first, which not at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from runs import composed

from rlexp.curriculum.column import ColumnCurriculum
from rlexp.curriculum.difficulty import DifficultyCurriculum
from rlexp.curriculum.length import LengthCurriculum
from rlexp.curriculum.mixture import MixtureCurriculum
from rlexp.spec.components import component_of
from rlexp.spec.curriculum import CurriculumSpec
from rlexp.spec.errors import UserError
from rlexp.spec.text import Text


class Counts:
    """Tokens are words; the answers' rewards stand in the rows."""

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        return [len(str(text).split()) for text in texts]

    def sampled_rewards(
        self, rows: Sequence[dict[str, Any]], completions: int, temperature: float
    ) -> list[list[float]]:
        return [row["rewards"] for row in rows]


@cache
def defaults(name: str) -> dict[str, Any]:
    return composed(f"curriculum={name}", *(["curriculum.column=x"] if name == "column" else []))[
        "curriculum"
    ]


def chosen(name: str, **fields: Any) -> Any:
    """A curriculum with the defaults of its yaml."""
    config = defaults(name) | fields
    problems: list[Any] = []
    curriculum = component_of(config, CurriculumSpec, "curriculum", (), problems)
    assert not problems and curriculum is not None
    return curriculum


def test_length_is_of_the_prompt_or_of_the_whole() -> None:
    """Answers counted where prompts are meant; of two answers the shorter one, or both."""
    rows = [
        {"prompt": "a a a", "chosen": "b", "rejected": "b b"},
        {"prompt": "a", "chosen": "b b b b b", "rejected": "b"},
    ]
    of_prompt, of_example = chosen("length"), chosen("length", of="example")
    assert isinstance(of_prompt, LengthCurriculum)
    assert of_prompt.difficulty(rows, Counts()) == [3, 1]
    assert of_example.difficulty(rows, Counts()) == [5, 6]
    assert chosen("length", descending=True).difficulty(rows, Counts()) == [-3, -1]


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ({}, [2, 0.5, 1], [2, 0.5, 1]),
        ({"descending": True}, [2, 0.5, 1], [-2, -0.5, -1]),
        ({"order": ["easy", "hard"]}, ["hard", "easy", "hard"], [1, 0, 1]),
    ],
)
def test_a_column_orders_by_numbers_or_as_told(
    fields: dict[str, Any], values: list[Any], expected: list[float]
) -> None:
    """Texts sorted by the alphabet; a direction that is turned round."""
    curriculum = chosen("column", column="level", **fields)
    rows = [{"prompt": "p", "level": value} for value in values]
    assert curriculum.difficulty(rows, Counts()) == expected


@pytest.mark.parametrize(
    ("fields", "values", "told"),
    [
        ({}, ["easy", "hard"], ["'easy', 'hard'", "curriculum.order=[easy,hard]"]),
        ({}, [1, None], ["1 of 2 rows do not have"]),
        ({"order": ["easy", "hard"]}, ["easy", "hardd"], ["without 'hardd'", "Is 'hard' meant?"]),
    ],
)
def test_values_without_an_order_are_refused(
    fields: dict[str, Any], values: list[Any], told: list[str]
) -> None:
    """Values left out, or put at an end, without a word."""
    curriculum = chosen("column", column="level", **fields)
    assert isinstance(curriculum, ColumnCurriculum)
    rows = [{"prompt": "p", "level": value} for value in values]
    with pytest.raises(UserError) as caught:
        curriculum.check_rows(rows)
    assert all(words in str(caught.value) for words in told), caught.value


def test_an_unknown_column_has_a_nearest_name() -> None:
    """A column that nobody has, found in the middle of a training."""
    with pytest.raises(UserError, match=r"curriculum\.column=level"):
        chosen("column", column="lvel").check_rows([{"prompt": "p", "level": 1}])


RATED = [
    {"prompt": "never", "rewards": [0.0, 0.0, 0.0, 0.0]},
    {"prompt": "half", "rewards": [0.2, 0.2, 1.0, 1.0]},
    {"prompt": "always", "rewards": [0.9, 1.0, 1.0, 1.0]},
    {"prompt": "unknown", "rewards": []},
]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [0, -0.6, -0.975, None]),
        ({"passes_from": 0.95}, [0, -0.5, -0.75, None]),
        ({"passes_from": 0.95, "descending": True}, [0, 0.5, 0.75, None]),
        ({"passes_from": 0.95, "window": [0.5, 0.7]}, [None, -0.5, None, None]),
    ],
)
def test_difficulty_is_the_rate_that_passes(
    fields: dict[str, Any], expected: list[float | None]
) -> None:
    """Hard prompts first where easy ones are meant; a prompt without a reward taken for one that
    is never answered; the bounds of the window left out."""
    curriculum = chosen("difficulty", **fields)
    assert curriculum.difficulty(RATED, Counts()) == pytest.approx(expected)


def test_a_window_without_prompts_says_where_they_are() -> None:
    """An empty training set."""
    curriculum = chosen("difficulty", window=[0.99, 1.0])
    assert isinstance(curriculum, DifficultyCurriculum)
    with pytest.raises(UserError, match=r"rates go from 0 to 0\.975"):
        curriculum.difficulty(RATED, Counts())


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"a": "x"}, "curriculum.weights.a: got 'x'"),
        ({"a": -1}, "0 or more"),
        ({"a": {"from": 1, "to": 0, "steps": 5}}, "all 0 at step 5"),
    ],
)
def test_weights_that_are_no_shares_are_refused(weights: dict[str, Any], told: str) -> None:
    """Rows drawn by a weight below 0; a step at which nothing can be drawn."""
    config = defaults("mixture") | {"weights": weights}
    problems: list[Any] = []
    kind = component_of(config, CurriculumSpec, "curriculum", (), problems)
    assert isinstance(kind, MixtureCurriculum)
    assert told in "\n".join(map(str, problems))
