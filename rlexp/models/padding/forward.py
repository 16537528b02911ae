"""Forward passes over padded batches that give each sequence what it would get alone.

They stand in front of a model's body, below its head: whatever makes logits, losses or values of
the last hidden states finds them where it expects them. They are methods of the one body, so that a
copy of a model has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def read_with_positions(body: Any, input_ids: Tensor | None = None, **options: Any) -> Any:
    """Return what a body's forward gives, the positions of padded rows counted from their first
    token."""
    mask = options.get("attention_mask")
    if options.get("position_ids") is None and _is_padded(input_ids, mask, options):
        assert mask is not None
        options["position_ids"] = (mask.long().cumsum(1) - 1).clamp_(min=0)
    return type(body).forward(body, input_ids, **options)


def read_apart(body: Any, input_ids: Tensor | None = None, **options: Any) -> Any:
    """Return what a body's forward gives of the rows of each length by themselves, unpadded.

    It is put back where the padded batch has it, with zeros in the padding.
    """
    mask = options.get("attention_mask")
    if not _is_padded(input_ids, mask, options):
        return type(body).forward(body, input_ids, **options)
    assert input_ids is not None and mask is not None
    options |= {"attention_mask": None, "use_cache": False}
    for name in ("position_ids", "past_key_values", "cache_position"):
        options.pop(name, None)
    groups = list(_groups_of_length(mask))
    outputs = [
        type(body).forward(body, input_ids[rows, columns], **options) for rows, columns in groups
    ]
    places = torch.cat([(rows * mask.shape[1] + columns).flatten() for rows, columns in groups])
    return _put_back(outputs, groups, places, mask.shape)


def _is_padded(input_ids: Tensor | None, mask: Tensor | None, options: dict[str, Any]) -> bool:
    """Whether a call reads padded rows from their beginning."""
    if input_ids is None or mask is None or mask.dim() != 2 or mask.shape != input_ids.shape:
        return False
    cache = options.get("past_key_values")
    return (cache is None or not cache.get_seq_length()) and not bool(mask.all())


def _groups_of_length(mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows (n, 1) with the same number of tokens, and the columns (n, t) of these."""
    lengths = mask.sum(1)
    for length in lengths.unique().tolist():
        if length:
            rows = (lengths == length).nonzero()
            columns = mask[rows[:, 0]].nonzero()[:, 1].view(len(rows), length)
            yield rows, columns


def _put_back(
    outputs: list[Any],
    groups: list[tuple[Tensor, Tensor]],
    places: Tensor,
    shape: tuple[int, ...],
) -> Any:
    """Return the outputs of all groups as one of a padded batch (rows, width).

    Args:
        outputs: transformers' `ModelOutput` of each group.
        groups: rows and columns of each.
        places: of all their tokens in the flattened batch.
        shape: of the batch.
    """

    def together(parts: list[Any]) -> Any:
        if isinstance(parts[0], (tuple, list)):
            return tuple(together(list(layer)) for layer in zip(*parts, strict=True))
        if not isinstance(parts[0], Tensor):
            return None  # a cache, or nothing
        flat = [
            part.reshape(columns.numel(), *part.shape[1 if _is_flat(part, columns) else 2 :])
            for part, (_, columns) in zip(parts, groups, strict=True)
        ]
        joined = torch.cat(flat)
        canvas = joined.new_zeros(shape[0] * shape[1], *joined.shape[1:])
        canvas = canvas.index_copy(0, places, joined)
        # Router logits come flat, and are looked at flat.
        return (
            canvas if _is_flat(parts[0], groups[0][1]) else canvas.view(*shape, *canvas.shape[1:])
        )

    return type(outputs[0])(
        **{name: together([output[name] for output in outputs]) for name in outputs[0]}
    )


def _is_flat(part: Tensor, columns: Tensor) -> bool:
    return part.shape[0] == columns.numel() and part.shape[:2] != columns.shape
