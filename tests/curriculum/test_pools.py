"""Rows of a batch: from which they are drawn, how often, and the same whoever asks."""

from __future__ import annotations

from collections import Counter

import pytest

from rlexp.curriculum.batches import BatchShape, Curriculum, Quotas, RowOrder
from rlexp.curriculum.pace import Competence
from rlexp.curriculum.pools import Opening, Passes
from rlexp.spec.schedule import Weight

STEPS = 40


def moving(step: int) -> dict[str, float]:
    """Weights that cross, and a source that comes in late."""
    return {"a": 1 - step / STEPS, "b": step / STEPS, "c": 0.7 if step >= 20 else 0.0}


def order_of(curriculum: Curriculum, rows: int = 8) -> RowOrder:
    return curriculum.order(BatchShape(rows))


def test_passes_take_each_row_once() -> None:
    """A row that comes twice before another has come; every pass in the same order."""
    passes = Passes(range(10), "seed")
    drawn = [row for batch in range(10) for row in passes.draw(batch, 3 * batch, 3)]
    assert [sorted(drawn[i : i + 10]) for i in (0, 10, 20)] == [list(range(10))] * 3
    assert drawn[:10] != drawn[10:20]


def test_only_open_rows_are_drawn() -> None:
    """Rows beyond the open share; a batch that has a row twice while others are open."""
    pace = Competence(0.1, 10, power=1)
    opening = Opening(range(100), "seed", pace.share, least=8)
    for batch in range(15):
        rows = opening.draw(batch, 0, 8)
        assert len(set(rows)) == 8 and max(rows) < max(8, round(100 * pace.share(batch)))
    late = [row for batch in range(10, 60) for row in opening.draw(batch, 0, 8)]
    assert len(set(late)) > 95  # all are open by then


def test_fewer_open_rows_than_a_batch_are_repeated_evenly() -> None:
    """A batch that is cut short, or a row that fills it alone."""
    opening = Opening(range(3), "seed", lambda batch: 1.0, least=3)
    assert sorted(Counter(opening.draw(0, 0, 8)).values()) == [2, 3, 3]


def test_drawn_shares_follow_moving_weights_to_a_row() -> None:
    """Shares left to chance; rounding that adds up; a source that gets rows at weight 0."""
    quotas = Quotas(7, moving)
    drawn: Counter[str] = Counter()
    wanted = dict.fromkeys("abc", 0.0)
    for batch in range(STEPS):
        weights = moving(batch)
        for name, before, count in quotas.at(batch):
            assert before == drawn[name] and weights[name] > 0
            drawn[name] += count
        for name, weight in weights.items():
            wanted[name] += 7 * weight / sum(weights.values())
        assert drawn.total() == 7 * (batch + 1)
        assert all(abs(drawn[name] - wanted[name]) < 2 for name in wanted)


@pytest.mark.parametrize("pacer", [None, Competence(0.2, 30, power=2)])
def test_a_batch_is_the_same_whatever_was_asked_before(pacer: Competence | None) -> None:
    """An order that a process which comes late, or a resumed training, does not find again."""
    sources = {"a": range(30), "b": range(30, 35)}
    weights = {"a": Weight(((0, 1.0), (30, 0.2)))}
    curriculum = Curriculum(3, sources, weights, pacer)
    one, other = order_of(curriculum), order_of(curriculum)
    whole = [one.rows_at(batch) for batch in range(25)]
    assert other.rows_at(17) == whole[17]
    assert [other.rows_at(batch) for batch in range(25)] == whole
    again = order_of(Curriculum(4, sources, weights, pacer))
    assert [again.rows_at(batch) for batch in range(25)] != whole


def test_weights_are_those_of_the_optimizer_step() -> None:
    """A schedule that runs on batches where several steps learn from one batch."""
    weights = {"a": Weight(((0, 1.0), (10, 0.0))), "b": Weight(((0, 0.0), (10, 1.0)))}
    curriculum = Curriculum(0, {"a": range(9), "b": range(9, 18)}, weights)
    order = curriculum.order(BatchShape(4, repeats=5))
    assert all(row < 9 for row in order.rows_at(0))
    assert sum(row < 9 for row in order.rows_at(1)) == 2  # step 5
    assert all(row >= 9 for row in order.rows_at(2))


def test_sources_are_mixed_within_a_batch() -> None:
    """Micro-batches, or processes, that each see one source alone."""
    order = order_of(Curriculum(0, {"a": range(50), "b": range(50, 100)}, {}))
    firsts = [sum(row < 50 for row in order.rows_at(batch)[:4]) for batch in range(40)]
    assert 1.5 < sum(firsts) / 40 < 2.5 and len(set(firsts)) > 2


def test_spare_rows_are_open_and_differ() -> None:
    """A prompt that is replaced by one that is not open yet, or by the same ones each time."""
    order = order_of(Curriculum(0, {"all": range(100)}, {}, Competence(0.2, 50, power=1)))
    spare = [order.spare_rows(0, attempt, 6) for attempt in range(4)]
    assert all(len(set(rows)) == 6 and max(rows) < 20 for rows in spare)
    assert len({tuple(rows) for rows in spare}) == 4
    assert order.spare_rows(0, 2, 6) == spare[2]


@pytest.mark.parametrize(
    ("repeats", "accumulation", "steps_at", "of_ten"),
    [(1, 1, [0, 1, 2], 10), (8, 4, [0, 2, 4], 5), (1, 2, [0, 0, 1], 20), (3, 2, [0, 1, 3], 7)],
)
def test_batches_and_steps(
    repeats: int, accumulation: int, steps_at: list[int], of_ten: int
) -> None:
    """A pass over rollouts, or a micro-batch, taken for an optimizer step."""
    shape = BatchShape(4, repeats, accumulation)
    assert [shape.step_at(batch) for batch in range(3)] == steps_at
    assert shape.batches(10) == of_ten
