"""Beginnings that several rows share are read once, and nothing that is said of a row changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import small_model

from rlexp.models.padding import shared_prefix
from rlexp.models.padding.shared_prefix import plan_prefixes, shared_prefixes
from rlexp.models.padding.treatment import PaddingTreatment

WAYS = {"qwen2": "plain", "gpt2": "positions"}
PROMPT, OTHER = [5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 3, 2, 4, 4]
ROWS = [[*PROMPT, 20], [*PROMPT, 21, 22, 23], [*OTHER, 20, 21], [*PROMPT, 21, 24], [*OTHER, 25]]


def both_sides(rows: list[list[int]], left: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows with so much padding before them, and what is missing behind."""
    width = max(len(row) + gap for row, gap in zip(rows, left, strict=True))
    ids, mask = torch.ones(len(rows), width).long(), torch.zeros(len(rows), width).long()
    for number, (row, gap) in enumerate(zip(rows, left, strict=True)):
        ids[number, gap : gap + len(row)] = torch.tensor(row)
        mask[number, gap : gap + len(row)] = 1
    return ids, mask


def test_groups_save_most() -> None:
    """All rows thrown together because of a system prompt that they share."""
    groups = {tuple(sorted(group.rows)): group.length for group in shared_prefixes(ROWS)}
    assert groups == {(0, 1, 3): 8, (2, 4): 6}


def test_each_row_keeps_a_token_of_its_own() -> None:
    """An answer that is another one's beginning, without anything left to be read."""
    (group,) = shared_prefixes([[1, 2, 3], [1, 2, 3, 4], [1, 2, 3]])
    assert sorted(group.rows) == [0, 1, 2]
    assert group.length == 2
    assert [group.length for group in shared_prefixes([[1, 2], [3, 4]])] == [0, 0]


def counted(model: Any) -> list[int]:
    """The positions that the model's first layer reads from now on."""
    positions: list[int] = []

    def note(module: Any, arguments: Any, options: Any) -> None:
        states = arguments[0] if arguments else options["hidden_states"]
        positions.append(states.shape[:2].numel())

    layers = getattr(model.base_model, "layers", None) or model.base_model.h
    layers[0].register_forward_pre_hook(note, with_kwargs=True)
    return positions


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("left", [[0] * 5, [0, 0, 2, 0, 2]], ids=["pairs", "rollouts"])
def test_states_and_gradients_are_those_without(kind: str, left: list[int]) -> None:
    """A row with another one's prompt, positions counted from the cache, or gradients cut off."""
    plain, sharing = (small_model(kind).double().eval() for _ in range(2))
    PaddingTreatment(WAYS[kind]).apply(plain)  # pyright: ignore[reportArgumentType]
    PaddingTreatment(WAYS[kind], shares=True).apply(sharing)  # pyright: ignore
    read = counted(sharing)
    ids, mask = both_sides(ROWS, left)
    gradients = []
    for model in (plain, sharing):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()]
        weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
        grads = torch.autograd.grad((logits * weights).sum(), list(model.parameters()))
        gradients.append((logits, *grads))
    assert read == [2 * 8, 5 * 3]
    for expected, value in zip(*gradients, strict=True):
        # norms and rotations are float32 whatever the weights are
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4)


def test_what_is_not_worth_it_is_read_as_it_is() -> None:
    """Rows that share little read in two passes, and masks with holes taken for padding."""
    ids, mask = both_sides([[1, 2, 3, 4, 5], [1, 2, 6, 7, 8]], [0, 0])
    assert plan_prefixes(ids, mask) is None
    ids, mask = both_sides(ROWS, [0] * 5)
    assert plan_prefixes(ids, mask) is not None
    mask[1, 4] = 0
    assert plan_prefixes(ids, mask) is None


def calls_of_plan(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The batches that plans are asked for from now on."""
    planned: list[Any] = []

    def plan(ids: torch.Tensor, mask: torch.Tensor) -> Any:
        planned.append(ids)
        return plan_prefixes(ids, mask)

    monkeypatch.setattr(shared_prefix, "plan_prefixes", plan)
    return planned


@pytest.mark.parametrize(
    "options",
    [
        {"use_cache": True},
        {"use_cache": False, "output_hidden_states": True},
        {"use_cache": False, "position_ids": torch.arange(9).expand(5, 9)},
    ],
)
def test_calls_that_ask_for_more_are_left_alone(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden states of a part of the rows, or packed texts that are taken for one each."""
    model = small_model("qwen2").eval()
    PaddingTreatment(shares=True).apply(model)
    planned = calls_of_plan(monkeypatch)
    model.base_model(input_ids=torch.ones(5, 9).long(), use_cache=False)
    assert len(planned) == 1  # of the same rows, where nothing more is asked
    model.base_model(input_ids=torch.ones(5, 9).long(), **options)
    assert len(planned) == 1


def test_dropout_and_recomputation_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw of dropout for all rows; a cache that recomputed layers do not fill."""
    dropping = small_model("gpt2").train()
    PaddingTreatment("positions", shares=True).apply(dropping)
    recomputing = small_model("qwen2").train()
    PaddingTreatment(shares=True).apply(recomputing)
    recomputing.gradient_checkpointing_enable({"use_reentrant": False})
    planned = calls_of_plan(monkeypatch)
    for model in (dropping, recomputing):
        model.base_model(input_ids=torch.ones(5, 9).long(), use_cache=False)
        assert not planned
        model.eval()
        model.base_model(input_ids=torch.ones(5, 9).long(), use_cache=False)
        assert len(planned) == 1
        planned.clear()
