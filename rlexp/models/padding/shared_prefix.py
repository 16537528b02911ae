"""Forward passes in which what several rows begin with is read once.

The answers to one prompt, and the two answers of a pair, follow the same tokens. Their keys and
values, and the hidden states above them, are the same in each row: they are computed for one row,
and go to all of them, with their gradients. The result is the one that a body gives without this,
up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

WORTH = 0.75
"""Share of a batch's positions that may be left to read for two passes to be worth it."""
UNDERSTOOD = ("attention_mask", "position_ids", "use_cache", "past_key_values")
"""Options of a body's forward with which rows can be read so."""


@dataclass(frozen=True)
class SharedPrefix:
    """Rows that begin with the same tokens, so many of them."""

    rows: list[int]
    length: int


def shared_prefixes(sequences: list[list[int]]) -> list[SharedPrefix]:
    """Return the rows in the groups, of neighbours in order, with which the fewest tokens are read.

    At least one token of each row is its own. A row that shares nothing is a group of length 0.
    """
    order = sorted(range(len(sequences)), key=lambda row: sequences[row])
    ordered = [sequences[row] for row in order]
    common = [_common(*pair) for pair in pairwise(ordered)]
    # best[j]: most tokens saved among the first j rows, and where the last group begins.
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        best.append((best[end - 1][0], end - 1))
        shortest, longest = len(ordered[end - 1]) - 1, None
        for start in range(end - 2, -1, -1):
            shortest = min(shortest, len(ordered[start]) - 1)
            longest = common[start] if longest is None else min(longest, common[start])
            saved = best[start][0] + (end - start - 1) * min(longest, shortest)
            if saved > best[end][0]:
                best[end] = (saved, start)
    groups, end = [], len(order)
    while end:
        start = best[end][1]
        within = [*common[start : end - 1], *(len(ordered[i]) - 1 for i in range(start, end))]
        length = min(within) if end - start > 1 else 0
        groups.append(SharedPrefix(order[start:end], length))
        end = start
    return groups[::-1]


def _common(first: list[int], second: list[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))


@dataclass(frozen=True)
class PrefixPlan:
    """A padded batch (n, t) taken apart: g beginnings, and what follows in each row.

    Attributes:
        prefix_ids: (g, p), padded on the left, and `prefix_mask` alike.
        suffix_ids: (n, s), padded on the right.
        mask: (n, p + s), of a row's beginning and what follows.
        positions: (n, s), of the latter, counted from each row's first token.
        group: (n,), which beginning is a row's.
        source: (n, t), where each token's state is found: in the beginnings' (g p), then in what
            follows (n s), then in a row of zeros for the padding.
    """

    prefix_ids: Tensor
    prefix_mask: Tensor
    suffix_ids: Tensor
    mask: Tensor
    positions: Tensor
    group: Tensor
    source: Tensor

    @property
    def read(self) -> int:
        """Positions that are read."""
        return self.prefix_ids.numel() + self.suffix_ids.numel()


def plan_prefixes(input_ids: Tensor, mask: Tensor) -> PrefixPlan | None:
    """Return how to read a padded batch; None where too little is shared, or a row has holes.

    Args:
        input_ids: (n, t).
        mask: (n, t), 1 where a row's tokens stand.
    """
    device = input_ids.device
    input_ids, present = input_ids.cpu(), mask.cpu().bool()  # to be looked at token by token
    lengths = present.sum(1).tolist()
    starts = present.int().argmax(1).tolist()
    columns = zip(input_ids.tolist(), starts, lengths, strict=True)
    sequences = [ids[start : start + length] for ids, start, length in columns]
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    whole = all(bool(present[row, starts[row] : ends[row]].all()) for row in range(len(ends)))
    if not whole or not all(lengths):
        return None
    groups = shared_prefixes(sequences)
    width = max(group.length for group in groups)
    rest = max(lengths[row] - group.length for group in groups for row in group.rows)
    shared = [group for group in groups if group.length]
    if len(shared) * width + len(sequences) * rest > WORTH * input_ids.numel():
        return None
    new, n, t = input_ids.new_zeros, len(sequences), input_ids.shape[1]
    prefix_ids, suffix_ids = new(len(shared), width), new(n, rest)
    prefix_mask, of_prefix, of_suffix = new(len(shared), width), new(n, width), new(n, rest)
    group_of, begins = new(n), new(n)
    source = input_ids.new_full((n, t), len(shared) * width + n * rest)
    for number, group in enumerate(shared):
        first, left = group.rows[0], width - group.length
        prefix_ids[number, left:] = input_ids[first, starts[first] : starts[first] + group.length]
        prefix_mask[number, left:] = 1
        at = torch.arange(left, width) + number * width
        for row in group.rows:
            source[row, starts[row] : starts[row] + group.length] = at
            of_prefix[row, left:] = 1
            group_of[row], begins[row] = number, group.length
    for row, (begin, end) in enumerate(zip(starts, ends, strict=True)):
        own = slice(begin + int(begins[row]), end)
        size = own.stop - own.start
        suffix_ids[row, :size], of_suffix[row, :size] = input_ids[row, own], 1
        source[row, own] = torch.arange(size) + len(shared) * width + row * rest
    positions = begins[:, None] + torch.arange(rest)
    positions = torch.minimum(positions, begins[:, None] + of_suffix.sum(1, keepdim=True) - 1)
    whole_mask = torch.cat([of_prefix, of_suffix], 1)
    parts = prefix_ids, prefix_mask, suffix_ids, whole_mask, positions, group_of, source
    return PrefixPlan(*(part.to(device) for part in parts))


def read_shared(body: Any, input_ids: Tensor | None = None, **options: Any) -> Any:
    """Return what a body's forward gives, or None where the rows are to be read as they are."""
    if input_ids is None or not _can_share(body, input_ids, options):
        return None
    mask = options.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else mask
    counted = (mask.long().cumsum(1) - 1).clamp_(min=0)
    given = options.get("position_ids")
    if given is not None and not bool(((given == counted) | (mask == 0)).all()):
        return None
    plan = plan_prefixes(input_ids, mask)
    if plan is None:
        return None
    from transformers import DynamicCache

    forward = type(body).forward
    cache = DynamicCache(config=body.config)
    positions = (plan.prefix_mask.cumsum(1) - 1).clamp_(min=0)
    beginnings = forward(
        body,
        plan.prefix_ids,
        attention_mask=plan.prefix_mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    cache.reorder_cache(plan.group)  # pyright: ignore[reportArgumentType]
    output = forward(
        body,
        plan.suffix_ids,
        attention_mask=plan.mask,
        position_ids=plan.positions,
        past_key_values=cache,
        use_cache=True,
    )
    following = output.last_hidden_state
    width = following.shape[-1]
    states = torch.cat(
        [beginnings.reshape(-1, width), following.reshape(-1, width), following.new_zeros(1, width)]
    )
    whole = states[plan.source.flatten()].view(*input_ids.shape, width)
    return type(output)(last_hidden_state=whole)


def _can_share(body: Any, input_ids: Tensor, options: dict[str, Any]) -> bool:
    """Whether rows can be read in two passes, as far as body and options have a say."""
    mask = options.get("attention_mask")
    rows_alone = options.get("past_key_values") is None and options.get("use_cache") is False
    if not rows_alone or input_ids.dim() != 2 or len(input_ids) < 2:
        return False
    if mask is None and options.get("position_ids") is not None:
        return False  # several texts in a row
    if mask is not None and mask.shape != input_ids.shape:
        return False
    if any(options[name] is not None for name in options if name not in UNDERSTOOD):
        return False
    if not body.training:
        return True
    # Activations that are recomputed leave no cache, and dropout would be alike in all rows.
    dropout = (module for module in body.modules() if isinstance(module, torch.nn.Dropout))
    return not getattr(body, "gradient_checkpointing", False) and all(
        module.p == 0 for module in dropout
    )
